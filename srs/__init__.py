"""The loop and everything that touches a model. Entry point: ``python -m srs.train``."""

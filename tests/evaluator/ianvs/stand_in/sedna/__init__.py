"""Stands in for the sedna package (see ../benchmarking.py)."""

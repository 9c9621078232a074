"""A run on several hosts: grading, generation and training as actors of a Ray cluster."""

"""``python -m srs.compare``: policies against each other on the real loop, at equal budgets."""

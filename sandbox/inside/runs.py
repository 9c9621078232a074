"""How often a program runs where altered tests decide."""

ALTERED_RUNS = 12
"""At least so many runs of altered tests: a program that passes by chance must be wrong in each."""
ORIGINAL_RUNS = 2
"""So many more runs of the tests themselves, which it must pass each time."""

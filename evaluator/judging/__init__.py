"""Judges of answers that no test can grade: a model that is asked, and people who fill in sheets."""

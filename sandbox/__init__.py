"""Runs files nobody trusts, within limits, and reports what happened."""

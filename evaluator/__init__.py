"""Turns what a sandbox saw into verdicts, and verdicts into numbers."""

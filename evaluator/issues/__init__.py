"""The issue benchmark: does a model's answer to a GitHub issue help; judged, since no test can tell."""

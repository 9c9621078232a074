"""What the run remembers: cards and an append-only review log, in SQLite."""

"""How the embedded default was made: its tasks, its tokenizer and its 2M-parameter model."""

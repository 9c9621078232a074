"""The comment benchmark: does a model comment given code well, and leave the code as it was."""

"""What runs inside a sandbox. Standard library and pytest only: the image holds a copy."""

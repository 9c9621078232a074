"""Text generation engines; loaded only inside the generation process."""

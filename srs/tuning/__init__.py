"""LoRA training; loaded only inside the training process."""

"""Fine-tuning; loaded only inside the training processes, but for `srs.tuning.methods`."""

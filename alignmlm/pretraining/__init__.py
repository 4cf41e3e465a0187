"""Pre-training: the DeepSpeed engine, the training loop, checkpoints, metrics and export."""

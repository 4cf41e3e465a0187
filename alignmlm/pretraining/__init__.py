"""The engine (DeepSpeed), the loop, checkpoints, metrics, export."""

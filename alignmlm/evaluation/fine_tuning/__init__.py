"""Fine-tuning of a model, its predictions, and the cache of fine-tuned models."""

"""Text to shards to rows to batches, left to right."""

"""Shards become rows become batches, left to right."""

"""Turning shards into rows, and rows into batches."""

"""Probes: how well two languages are aligned in a model, and what shape its vectors have."""

"""Probes: cross-lingual alignment in a model, and the geometry of its vectors."""

"""Labelled examples as rows of a model, in any of its languages."""

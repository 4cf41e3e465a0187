"""Labelled examples as input rows of a model, in any of its languages."""

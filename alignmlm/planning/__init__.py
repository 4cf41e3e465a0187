"""Estimates of a run on a cluster: memory, communication and time, without running it."""

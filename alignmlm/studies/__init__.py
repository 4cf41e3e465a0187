"""Studies: matrices of pre-training runs, each measured the same way."""

"""Counter-based random numbers, and compiled loops."""

"""Random numbers by counter, and compiled loops."""

"""Checks that machines are ready for a run: this one, and those of a hostfile."""

"""The ranks of a run: how they find, watch and stop each other."""

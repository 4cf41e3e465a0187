"""What a run will need on a cluster: memory, communication and time, without running it."""

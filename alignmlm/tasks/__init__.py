"""Labelled data: what a task is, the files and forms it comes in, and whether it can be used."""

"""Labelled data: tasks, their files and formats, and validation."""

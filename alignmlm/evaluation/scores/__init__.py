"""Predictions to scores, results and statistics."""

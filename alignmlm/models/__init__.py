"""Encoders: built by transformers, with what training and loading need."""

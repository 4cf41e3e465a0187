"""Stores from and to the formats of other loaders, and stores on other machines."""

"""Importing and exporting stores in the formats of other loaders, and remote stores."""

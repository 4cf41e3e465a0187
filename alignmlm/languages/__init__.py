"""Languages: word order, script, and dictionaries between two of them."""

"""What a language is: an order of words, a script, and dictionaries between two of them."""

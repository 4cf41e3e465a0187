"""Text to shards: sentences, words, tokens; the same bytes for any number of ranks."""

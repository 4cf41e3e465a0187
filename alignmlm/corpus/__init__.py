"""Text becomes shards: sentences, words, tokens, by any number of ranks, the same bytes."""

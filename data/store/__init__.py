"""The token store: flat shards, document tables, splits, tokenizers."""

"""Native ports of models that transformers does not have."""

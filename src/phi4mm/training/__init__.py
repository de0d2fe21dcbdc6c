"""General training: a loop that anything may use."""

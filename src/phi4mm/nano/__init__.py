"""nano, the small model in the package: its synthetic data, its training recipe, its weights."""

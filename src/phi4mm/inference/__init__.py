"""Processing, engine and text as one object."""

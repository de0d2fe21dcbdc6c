"""Configuration of the model, read strictly from files, and of the engine."""

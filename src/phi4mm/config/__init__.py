"""Facts of the model and of the engine, read strictly."""

"""Ways to run a batch through the model, tried in order."""

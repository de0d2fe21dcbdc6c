"""The model in the box: its world, its recipe, its weights."""

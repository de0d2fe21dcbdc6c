"""The world that nano learns."""

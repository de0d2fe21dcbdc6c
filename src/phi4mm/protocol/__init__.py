"""What crosses the surface: plain values, no torch."""

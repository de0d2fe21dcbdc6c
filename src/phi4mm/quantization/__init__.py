"""Quantization: which weights of a model are packed, and the modules that use packed weights."""

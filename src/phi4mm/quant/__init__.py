"""Quantization as a swap of modules that the model cannot see."""

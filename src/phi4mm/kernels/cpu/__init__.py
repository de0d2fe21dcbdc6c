"""The CPU's native kernels."""

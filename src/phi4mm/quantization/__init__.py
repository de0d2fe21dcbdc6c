"""Packed weights in place of plain ones."""

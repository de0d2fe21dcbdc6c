"""Loads a checkpoint and answers requests: processing, engine and decoding of text together."""

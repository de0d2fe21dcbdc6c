"""Containers of sound: where a file's clips begin and end, and whether all of each is there."""

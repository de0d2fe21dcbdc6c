"""Scores of answers: word and character error rate, table cells, exact match, equal tool calls."""

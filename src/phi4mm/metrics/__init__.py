"""Scores of answers: word error rate, exact match, equal tool calls."""

"""Character error rate of text that was read, and the share of table cells that are right."""

from __future__ import annotations

from collections.abc import Sequence

from phi4mm.metrics.edits import edit_distance


def character_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """The number of substituted, missing and extra characters, and of characters in the reference.

    Case and punctuation count; runs of white space count as one space, at the ends as nothing.
    """
    expected, actual = " ".join(reference.split()), " ".join(hypothesis.split())
    return edit_distance(expected, actual), len(expected)


def character_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Character errors divided by reference characters, for (reference, hypothesis) pairs; 0.0 without any."""
    counts = [character_errors(reference, hypothesis) for reference, hypothesis in pairs]
    characters = sum(count for _, count in counts)
    return sum(errors for errors, _ in counts) / characters if characters else 0.0


def table_cells(reference: str, hypothesis: str) -> tuple[int, int]:
    """How many cells of the Markdown tables in `reference` are right in `hypothesis`, and how many there are.

    Tables are compared in their order, cells at their row and column; the head counts as a row.
    """
    expected, actual = _tables(reference), _tables(hypothesis)
    actual += [[]] * (len(expected) - len(actual))
    right = sum(
        cell == other
        for table, answer in zip(expected, actual, strict=False)
        for row, cells in zip(table, answer, strict=False)
        for cell, other in zip(row, cells, strict=False)
    )
    return right, sum(len(row) for table in expected for row in table)


def _tables(markdown: str) -> list[list[list[str]]]:
    """The cells of each table: runs of lines that begin with a bar, without the line of dashes."""
    tables: list[list[list[str]]] = []
    before = ""
    for line in map(str.strip, markdown.splitlines()):
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not all(cell and set(cell) <= {"-", ":"} for cell in cells):
                tables[-1].append(cells)
        before = line
    return tables

"""The list of fast tests names files and tests that exist: pytest says nothing of one that it does not find."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_line_of_the_fast_list_names_something() -> None:
    """A renamed test would be run, slow as it is, and the tier would miss its half minute."""
    for line in (ROOT / "tests" / "fast.txt").read_text().splitlines():
        path, _, name = line.removeprefix("--deselect=").partition("::")
        assert (ROOT / path).exists(), line
        assert not name or re.search(rf"def {re.escape(name.partition('[')[0])}\(", (ROOT / path).read_text()), line

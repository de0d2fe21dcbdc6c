"""The documentation site, built as `make docs` builds it."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import phi4mm

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "phi4mm"


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    """`make docs`: every name of the public API and every file has its place, and no page fetches from another host."""
    for needed in ("mkdocs", "material", "mkdocstrings_handlers"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install 'phi4mm[docs]'")
    site = tmp_path / "site"
    # Not --quiet: warnings that are not logged are not counted as errors.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    made = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr[-4000:]
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert [name for name in phi4mm.__all__ if f'id="phi4mm.{name}"' not in api] == []
    files = (site / "reference" / "index.html").read_text(encoding="utf-8")
    documented = [path for path in PACKAGE.rglob("*.py") if ast.get_docstring(ast.parse(path.read_text()))]
    assert [str(path) for path in documented if f"<code>{path.relative_to(PACKAGE)}</code>" not in files] == []
    elsewhere = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*(?:src|href)=["']?(?:https?:)?//""")
    assert [str(page) for page in site.rglob("*.html") if elsewhere.search(page.read_text(encoding="utf-8"))] == []

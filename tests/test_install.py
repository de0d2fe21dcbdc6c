"""What is said about installing is true, and the same everywhere: pyproject, Makefile, README, guide, records."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CLASSIFIED = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", name)]
# Stands for python3 and for .venv/bin/python: it makes the environment, and writes down what pip is asked for.
PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; else echo "$@" >> asked; fi
"""


def test_one_lowest_python_is_named_everywhere() -> None:
    """pip, the linter, the classifiers and four pages each said a version of their own."""
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert [f"3.{minor}" for minor in range(int(lowest[2:]), int(lowest[2:]) + len(CLASSIFIED))] == CLASSIFIED
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    for page in ("README.md", "CONTRIBUTING.md", "Makefile", "docs/guide/install.md"):
        assert set(re.findall(r"(3\.\d+) (?:or|and) newer", (ROOT / page).read_text(encoding="utf-8"))) == {lowest}, (
            page
        )


def test_every_lower_bound_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra that names another one of this project stopped bench/versions.py, or was asked of an index."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    versions = importlib.import_module("versions")
    bounds = [versions.lowest(line) for line in versions.requirements("synth", "structured", "test")]
    assert {"torch==2.6", "av==14", "pytest==8.3"} <= set(bounds)
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", bound) for bound in bounds)
    assert not any(bound.startswith(("phi4mm", "transformers")) for bound in bounds)


def test_links_of_the_readme_lead_somewhere_on_an_index_page() -> None:
    """There, no file of this repository stands beside it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [*re.findall(r"\]\(([^)\s]*)\)", text), *re.findall(r"(?:href|src)=\"([^\"]*)\"", text)]
    assert [link for link in links if not link.startswith("https://")] == []
    assert PROJECT["readme"] == "README.md"
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("driver", [False, True])
def test_make_takes_the_cpu_build_of_torch_without_an_nvidia_driver(driver: bool, tmp_path: Path) -> None:
    """5 GB of CUDA came to machines that cannot use it."""
    make = shutil.which("make")
    assert make is not None
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "mkdir", "cp", "touch"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for name in ("python3", *(["nvidia-smi"] if driver else [])):
        (tools / name).write_text(PYTHON)
        (tools / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = [make, ".venv/core.stamp"]
    subprocess.run(command, cwd=tmp_path, env=environment | {"PATH": str(tools)}, capture_output=True, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1].endswith("-c constraints.txt -e .")
    index = "--extra-index-url https://download.pytorch.org/whl/cpu torch"
    assert [line.endswith(index) for line in asked] == ([False] if driver else [True, False])


def test_every_classified_python_was_tried_and_passed() -> None:
    """The last record of bench/versions.py has each of them, with the newest libraries."""
    record = json.loads((ROOT / "bench" / "results" / "prove" / "versions.json").read_text(encoding="utf-8"))
    environments = record["figures"][0]["environments"]
    assert [name for name in CLASSIFIED if not environments[f"{name} newest"]["passed"]] == []

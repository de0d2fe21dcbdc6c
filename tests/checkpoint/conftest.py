"""The small checkpoint in both layouts, written once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi4mm.checkpoint.synthetic import write_synthetic
from tests.checkpoint.small import config


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only: tests that damage a checkpoint copy it first."""
    folder = tmp_path_factory.mktemp("small") / "original"
    write_synthetic(config(), folder)
    return folder


@pytest.fixture(scope="session")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only, as `original`."""
    folder = tmp_path_factory.mktemp("small") / "transformers"
    write_synthetic(config(), folder, layout="transformers")
    return folder

"""Checkpoints that every folder of tests may use: synthetic weights, written once a session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.model.phi4mm import Phi4MM

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small matrices gain nothing from more threads, and results stay the same everywhere."""
    torch.set_num_threads(1)


def _write(name: str, folder: Path) -> Path:
    write_synthetic(json.loads((GOLDEN / f"{name}.json").read_text()), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic checkpoint that golden_tiny.npz was recorded on."""
    return _write("tiny", tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def rope96_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the LongRoPE switch at 96 tokens."""
    return _write("tiny_rope96", tmp_path_factory.mktemp("rope96") / "checkpoint")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Phi4MM:
    """The tiny model in float32."""
    return load_model(tiny_folder, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def rope96(rope96_folder: Path) -> Phi4MM:
    """The tiny model whose LongRoPE switch is at 96 tokens, in float32."""
    return load_model(rope96_folder, device="cpu", dtype=torch.float32)

"""transformers' own class with the weights of the `rope96` fixture, which matches the published code's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Phi4MultimodalForCausalLM

from phi4mm.checkpoint.synthetic import write_synthetic
from tests.conftest import GOLDEN
from tests.parity.theirs import Theirs, load_theirs


@pytest.fixture(scope="session")
def native_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of `rope96` in transformers' layout, as phi4mm writes it."""
    folder = tmp_path_factory.mktemp("native") / "checkpoint"
    write_synthetic(json.loads((GOLDEN / "tiny_rope96.json").read_text()), folder, layout="transformers")
    return folder


@pytest.fixture(scope="session")
def loaded(native_folder: Path) -> tuple[Theirs, dict[str, Any]]:
    """The class with both adapters, and its report on the loaded weights."""
    return load_theirs(native_folder)


@pytest.fixture(scope="session")
def theirs(loaded: tuple[Theirs, dict[str, Any]]) -> Theirs:
    """The class set up to compute what the published code does: eager attention, adapters loaded; see `adapted`."""
    return loaded[0]


@pytest.fixture(scope="session")
def bare(native_folder: Path) -> Theirs:
    """The class as `from_pretrained(folder)` returns it: PyTorch's SDPA attention, no adapter."""
    return Phi4MultimodalForCausalLM.from_pretrained(native_folder)

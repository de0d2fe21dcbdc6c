"""Fixtures for all tests: checkpoints with synthetic weights, written once in each session."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from safetensors.torch import load_file, save_file

import phi4mm
from phi4mm.checkpoint.load import load_model
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.inference.model import Model
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.tokenizer import Special, Tokenizer
from tests.processing.conftest import tokenizer_json

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small matrices are not faster with more threads, and results are the same on every machine."""
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


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with crops of 56 pixels, the vocabulary of its tokenizer, and a context of 192 tokens."""
    folder = tmp_path_factory.mktemp("small") / "checkpoint"
    tokenizer = Tokenizer(tokenizer_json())
    config: dict[str, Any] = json.loads((GOLDEN / "tiny.json").read_text())
    end = tokenizer.id(Special.ENDOFTEXT)
    config |= {"vocab_size": tokenizer.size, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config |= {"max_position_embeddings": 192, "original_max_position_embeddings": 96}
    config["vision_config"]["image_size"] = config["embd_layer"]["image_embd_layer"]["crop_size"] = 56
    write_synthetic(config, folder)
    weights = load_file(folder / "model.safetensors")
    # At full size the tied embedding makes every answer repeat the prompt's last token, whatever the media.
    weights["model.embed_tokens.weight"] *= 0.05
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    generation = {"bos_token_id": end, "eos_token_id": [tokenizer.id(Special.END), end], "pad_token_id": end}
    (folder / "generation_config.json").write_text(json.dumps(generation | {"transformers_version": "4.46.1"}))
    return folder


@pytest.fixture(scope="session")
def small(small_folder: Path) -> Model:
    """The same checkpoint, loaded with phi4mm.load."""
    return phi4mm.load(small_folder, device="cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark property tests; PHI4MM_EXAMPLES=N has each try N examples in place of its own number (make prove)."""
    examples = os.environ.get("PHI4MM_EXAMPLES")
    for item in items:
        test: Any = getattr(item, "obj", None)
        if getattr(test, "is_hypothesis_test", False):
            item.add_marker("property")
            if examples:
                own = test._hypothesis_internal_use_settings  # a test cannot be given settings twice in public
                test._hypothesis_internal_use_settings = settings(own, max_examples=int(examples))

"""A checkpoint with every part of the published one, small enough to be written in every test."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phi4mm.checkpoint.load import load_model

GOLDEN = Path(__file__).parents[1] / "golden"
Header = dict[str, Any]


def config(**changes: Any) -> dict[str, Any]:
    """tests/golden/tiny.json with a vocabulary of 300."""
    tiny: dict[str, Any] = json.loads((GOLDEN / "tiny.json").read_text())
    return tiny | {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 1} | changes


def state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a float32 checkpoint, as loaded."""
    return load_model(folder, device="cpu", dtype=torch.float32).state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts have the same names and bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rewrite_header(path: Path, change: Callable[[Header], Header]) -> None:
    """Change the JSON header of a safetensors file and leave its data as it is."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    text = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

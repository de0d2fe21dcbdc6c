"""Read the `config.json` of a checkpoint of either layout, strictly."""

from __future__ import annotations

from pathlib import Path

from phi4mm.config.json_file import read_json
from phi4mm.config.model import ADAPTER_FOLDERS, Phi4MMConfig
from phi4mm.config.original import from_original
from phi4mm.config.transformers import from_transformers


def load_config(folder: Path) -> Phi4MMConfig:
    """Read `folder/config.json`, and the adapters' own files in the transformers layout. Raises ConfigError."""
    raw = read_json(folder / "config.json")
    if raw.get("model_type") != "phi4_multimodal":
        return from_original(raw)
    adapters = {
        name: read_json(folder / sub / "adapter_config.json")
        for name, sub in ADAPTER_FOLDERS.items()
        if (folder / sub).is_dir()
    }
    return from_transformers(raw, adapters)

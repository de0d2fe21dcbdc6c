"""What a checkpoint contains, read from its headers without reading weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

from phi4mm.checkpoint.contents import is_unused, part_of, read_contents, skeleton
from phi4mm.checkpoint.keys import stored_name
from phi4mm.config.json_file import read_json
from phi4mm.diagnostics.footprint import kv_cache_bytes, weight_bytes

Report: TypeAlias = dict[str, Any]
PARTS = (
    "text",
    "vision adapter",
    "speech adapter",
    "image tower",
    "image projection",
    "audio encoder",
    "audio projections",
)


def describe(folder: Path) -> Report:
    """Layout, parts, unused tensors, memory in bytes, files, and training.json if there is one.

    raises  ConfigError, CheckpointError
    """
    contents = read_contents(folder)
    config, model = contents.config, skeleton(contents.config)
    parameters: Counter[str] = Counter()
    stored_bytes: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parameters[part_of(name)] += parameter.numel()
    for name, tensor in contents.tensors.items():
        stored_bytes[part_of(name)] += tensor.nbytes
    unused = {name: parameter.numel() for name, parameter in model.named_parameters() if is_unused(name, config)}
    return {
        "folder": str(folder),
        "layout": config.layout,
        "quantization": contents.scheme,
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in contents.tensors.values()}),
        "tensors": len(contents.tensors),
        "parts": {part: {"parameters": parameters[part], "bytes": stored_bytes[part]} for part in PARTS},
        "parameters": parameters.total(),
        "bytes": stored_bytes.total(),
        "buffer_elements": sum(buffer.numel() for buffer in model.buffers()),
        "unused_parameters": sum(unused.values()),
        "unused_tensors": [name if contents.scheme else stored_name(name, config.layout).name for name in unused],
        "ignored_tensors": list(contents.ignored),
        "memory": {"weights": weight_bytes(config), "cache_per_token": kv_cache_bytes(config.text)},
        "context": config.text.rope.max_positions,
        "files": files(folder),
        "training": read_json(folder / "training.json") if (folder / "training.json").exists() else None,
    }


def files(folder: Path) -> dict[str, int]:
    """Bytes of each JSON and safetensors file of a model folder, adapter folders included."""
    paths = (path for pattern in ("*", "*-lora/*") for path in folder.glob(pattern))
    chosen = sorted(path for path in paths if path.suffix in {".json", ".safetensors"} and path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in chosen}

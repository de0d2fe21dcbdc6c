"""Makes the model files of each peer once, from the same synthetic checkpoints of the published sizes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from turns import vocabulary

BENCH = Path(__file__).parents[1]
GENERATION = {"bos_token_id": 199999, "eos_token_id": [200020, 199999], "pad_token_id": 199999}
# Keys that mistral.rs needs in config.json and phi4mm does not.
EXTRA_AUDIO_KEYS = {
    "left_chunk": 18,
    "dropout_rate": 0.0,
    "activation_checkpointing": {"interval": 1, "module": "transformer", "offload": False},
}
EXTRA_TEXT_KEYS = {
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "use_cache": True,
    "use_flash_attn": False,
    "sliding_window": 262144,
}
PREPROCESSOR = {
    "processor_class": "Phi4MMProcessor",
    "image_processor_type": "Phi4MMImageProcessor",
    "feature_extractor_type": "Phi4MMAudioFeatureExtractor",
    "audio_compression_rate": 8,
    "audio_downsample_rate": 1,
    "audio_feat_stride": 1,
    "dynamic_hd": 36,
}


def checkpoint(folder: Path, layout: str) -> Path:
    """A synthetic checkpoint of either layout, 11 GB."""
    if not folder.exists():
        _call([sys.executable, str(BENCH / "make_published.py"), str(folder), "--layout", layout])
    return folder


def quantized(folder: Path, original: Path, scheme: str) -> Path:
    """The same checkpoint in phi4mm's packed format."""
    if not folder.exists():
        bits = scheme.removeprefix("int")
        _call([sys.executable, "-m", "phi4mm", "quantize", str(original), str(folder), "--bits", bits])
    return folder


def gguf(path: Path, python: Path) -> Path:
    """A GGUF file for llama.cpp, written in that peer's environment."""
    if not path.exists():
        _call([str(python), str(Path(__file__).with_name("llama_gguf.py")), str(path)])
    return path


def with_tokenizer(folder: Path, original: Path) -> Path:
    """The original layout as on the hub, for mistral.rs: with tokenizer, processor files and a complete config.json."""
    if folder.exists():
        return folder
    unfinished = _unfinished(folder)
    for path in original.glob("*.safetensors*"):
        (unfinished / path.name).symlink_to(path.resolve())
    config = _read(original / "config.json") | EXTRA_TEXT_KEYS
    config["audio_processor"]["config"] |= EXTRA_AUDIO_KEYS
    for part in config["embd_layer"].values():
        if isinstance(part, dict):
            part["enable_gradient_checkpointing"] = False
    _write(unfinished / "config.json", config)
    _write(unfinished / "preprocessor_config.json", PREPROCESSOR)
    _write(unfinished / "processor_config.json", {"processor_class": "Phi4MMProcessor"})
    _add_tokenizer(unfinished)
    unfinished.rename(folder)
    return folder


def onnx(folder: Path, original: Path, packages: Path) -> Path:
    """An int4 export for ONNX Runtime GenAI of the text part, by its model builder, which needs transformers."""
    if folder.exists():
        return folder
    text = _phi3(folder.with_name("phi3"), original)
    unfinished = _unfinished(folder)
    arguments = ["-i", str(text), "-o", str(unfinished), "-p", "int4", "-e", "cpu", "-c", str(unfinished / "cache")]
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", *arguments]
    _call(command, PYTHONPATH=str(packages))
    unfinished.rename(folder)
    return folder


def _phi3(folder: Path, original: Path) -> Path:
    """The decoder alone under the names of transformers' Phi-3, which the model builder can read."""
    if folder.exists():
        return folder
    unfinished = _unfinished(folder)
    weight_map = {}
    for shard in sorted(original.glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            names = [n for n in file.keys() if n.startswith("model.") and "lora" not in n and "extend" not in n]  # noqa: SIM118
            tensors = {name.replace(".base_layer", ""): file.get_tensor(name) for name in names}
        if tensors:
            save_file(tensors, unfinished / shard.name, {"format": "pt"})
            weight_map |= dict.fromkeys(tensors, shard.name)
    _write(unfinished / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    config = _read(original / "config.json")
    left_out = ("embd_layer", "audio_processor", "vision_config", "vision_lora", "speech_lora")
    kept = {name: value for name, value in config.items() if name not in left_out}
    _write(unfinished / "config.json", kept | {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3"})
    _add_tokenizer(unfinished)
    unfinished.rename(folder)
    return folder


def _add_tokenizer(folder: Path) -> None:
    _write(folder / "tokenizer.json", vocabulary.tokenizer_json())
    _write(folder / "tokenizer_config.json", vocabulary.tokenizer_config())
    _write(folder / "generation_config.json", GENERATION)


def _unfinished(folder: Path) -> Path:
    """A temporary name for a folder until it is complete, so that an incomplete one is never used."""
    unfinished = folder.with_name(folder.name + ".half")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def _call(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | environment)


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value))

"""Quantization while loading: through `phi4mm.load`, and in how much memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import phi4mm
from phi4mm.checkpoint.contents import read_contents
from phi4mm.checkpoint.quantize import quantize_folder
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.config.engine import QUANTIZATIONS, Quantization
from phi4mm.diagnostics.footprint import weight_bytes
from phi4mm.errors import ConfigError
from phi4mm.protocol.sampling import SamplingParams
from tests.checkpoint.small import config

OVERHEAD = 48 << 20  # modules, headers, allocator, float32 copies of the outputs that are packed at a time
MEASURE = """
import sys
from pathlib import Path
import torch
from phi4mm.checkpoint.load import load_model

def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

torch.set_num_threads(1)
before = peak()
model = load_model(Path(sys.argv[1]), device="cpu", dtype=torch.bfloat16, quantize=sys.argv[2] or None)
print(peak() - before)
"""


@pytest.mark.parametrize("scheme", QUANTIZATIONS)
def test_a_quantized_folder_gives_the_answers_of_one_quantized_while_loading(
    scheme: Quantization, small_folder: Path, tmp_path: Path
) -> None:
    """The setting must reach the loader, and `settings` must show it."""
    quantize_folder(small_folder, tmp_path / "packed", scheme=scheme)
    before, while_loading = phi4mm.load(tmp_path / "packed"), phi4mm.load(small_folder, quantize=scheme)
    assert before.settings.quantize == while_loading.settings.quantize == scheme
    assert phi4mm.load(small_folder).settings.quantize is None
    params = SamplingParams(max_tokens=8)
    assert before.chat("abc", params=params).ids == while_loading.chat("abc", params=params).ids


def test_case_b11_a_folder_may_be_replaced_or_deleted_under_a_running_model(small_folder: Path, tmp_path: Path) -> None:
    """The guide says so, and that cutting a mapped file short ends the process: the old file must stay mapped."""
    folder = tmp_path / "packed"
    quantize_folder(small_folder, folder, scheme="int8")
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    params = SamplingParams(max_tokens=8)
    with phi4mm.load(folder) as model, phi4mm.load(folder) as replaced, phi4mm.load(folder) as deleted:
        expected = model.chat("abc", images=[image], params=params).ids
        (tmp_path / "short").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
        (tmp_path / "short").replace(folder / "model.safetensors")
        assert replaced.chat("abc", images=[image], params=params).ids == expected
        shutil.rmtree(folder)
        assert deleted.chat("abc", images=[image], params=params).ids == expected


def test_an_unknown_quantization_is_refused(small_folder: Path) -> None:
    """A misspelling must not load 11 GB unquantized."""
    with pytest.raises(ConfigError, match="quantize is 'int5'; expected one of int8, int4"):
        phi4mm.load(small_folder, quantize="int5")  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_quantizing_while_loading_takes_the_memory_of_the_result_and_one_tensor(tmp_path: Path) -> None:
    """The whole model must never be in memory in 16 or 32 bits, and towers must be memory-mapped, not read."""
    factors = [1.0] * 48
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "vocab_size": 30_000}
    rope = {"rope_scaling": {"type": "longrope", "short_factor": factors, "long_factor": factors}}
    write_synthetic(config(**text, **rope), tmp_path / "model", dtype="bfloat16")
    contents = read_contents(tmp_path / "model")
    largest = max(tensor.nbytes for tensor in contents.tensors.values())
    sizes = weight_bytes(contents.config)
    assert sizes["bfloat16"] > sizes["int4"] + largest + OVERHEAD, "otherwise the bound proves nothing"
    assert _peak_growth(tmp_path / "model", "int4") <= sizes["int4"] + largest + OVERHEAD
    quantize_folder(tmp_path / "model", tmp_path / "packed", scheme="int4")
    decoder = sum(
        tensor.nbytes
        for name, tensor in read_contents(tmp_path / "packed").tensors.items()
        if name.startswith("text.") and ".lora_" not in name
    )
    assert _peak_growth(tmp_path / "packed", "") <= decoder + OVERHEAD / 2


def _peak_growth(folder: Path, scheme: str) -> int:
    """Bytes by which loading raises the peak memory of a new process."""
    command = [sys.executable, "-c", MEASURE, str(folder), scheme]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

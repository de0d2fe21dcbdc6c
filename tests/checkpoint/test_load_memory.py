"""How much memory loading takes, measured in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phi4mm.checkpoint.contents import read_contents
from phi4mm.checkpoint.synthetic import write_synthetic
from tests.checkpoint.small import config

OVERHEAD = 32 << 20  # modules, headers, allocator
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
model = load_model(Path(sys.argv[1]), device="cpu", dtype=getattr(torch, sys.argv[2]))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_loading_takes_the_memory_of_the_weights_and_one_tensor(tmp_path: Path) -> None:
    """Memory maps, a state dict or copies in float32 would hold an 11 GB model twice."""
    factors = [1.0] * 48
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 10, "vocab_size": 60_000}
    rope = {"rope_scaling": {"type": "longrope", "short_factor": factors, "long_factor": factors}}
    write_synthetic(config(**text, **rope), tmp_path / "model")
    tensors = read_contents(tmp_path / "model").tensors.values()
    weights, largest = sum(tensor.nbytes for tensor in tensors), max(tensor.nbytes for tensor in tensors)
    assert weights > 280e6
    for dtype, kept in (("float32", weights), ("bfloat16", weights // 2)):
        command = [sys.executable, "-c", MEASURE, str(tmp_path / "model"), dtype]
        grown = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
        assert grown <= kept + largest + OVERHEAD, dtype

"""Run requests with a LoRA of one's own beside others without it, chosen by name.

    python examples/lora_adapter.py

prints

    ('vision', 'speech', 'mine')
    without: My name is nano.
    with: ...
    they differ: True

The adapter's matrices are random here, so that its answer is no sentence; a folder that PEFT saved is loaded likewise.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import phi4mm
from phi4mm import ChatRequest, SamplingParams
from phi4mm.checkpoint.adapters import write_adapter
from phi4mm.model.adapter_weights import AdapterWeights, projection_sizes

RANK = 4


def main() -> None:
    model = phi4mm.load("nano")
    torch.manual_seed(0)
    out, width = projection_sizes(model.config.text)["qkv_proj"]
    layers = range(model.config.text.num_layers)
    matrices = {(layer, "qkv_proj"): (torch.randn(RANK, width), torch.randn(out, RANK)) for layer in layers}
    with TemporaryDirectory() as folder:
        write_adapter(AdapterWeights(matrices, scaling=1.0), Path(folder, "mine"), config=model.config)
        model.add_adapter("mine", Path(folder, "mine"))
    print(model.adapters)
    short = SamplingParams(max_tokens=10)
    question = "What is your name?"
    without, mine = model.batch([ChatRequest(question), ChatRequest(question, params=short, adapter="mine")])
    print(f"without: {without.text}\nwith: {mine.text!r}\nthey differ: {without.text != mine.text}")


if __name__ == "__main__":
    main()

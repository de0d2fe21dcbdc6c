"""Copies the trained weights of a run of `phi4mm train nano` without the optimizer's moments, in bfloat16.

    python bench/keep_stages.py runs/nano KEPT

KEPT is then a run's folder a fifth as large, from which the same command goes on: finished stages are as they were, to
the precision of bfloat16, in which nano ships; an unfinished one begins again with new moments at its step.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def main() -> int:
    """Copy the tokenizer and every stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("kept", type=Path)
    args = parser.parse_args()
    args.kept.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.run / "tokenizer.json", args.kept / "tokenizer.json")
    for state in sorted(args.run.glob("*.safetensors")):
        with safe_open(state, "pt") as file:
            names = [name for name in file.keys() if name.startswith("module.")]  # noqa: SIM118
            tensors = {name: file.get_tensor(name).to(torch.bfloat16) for name in names}
            save_file(tensors, args.kept / state.name, file.metadata())
        print(f"{state.name}: {(args.kept / state.name).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

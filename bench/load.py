"""Peak memory of loading a checkpoint. Bound: the weights plus 1.5 GB.

Each checkpoint is loaded in a new process. The peak of resident memory (VmHWM) counts everything: Python, torch, the
model, and the loader's temporary memory. The lower limit is the bytes of the weights.

python bench/load.py CHECKPOINT [CHECKPOINT ...]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from measure import GB, child, provenance

from phi4mm.checkpoint.load import load_model
from phi4mm.machine import peak_resident_bytes


def measure(folder: Path) -> None:
    """Load one checkpoint in this process and print one JSON line."""
    before = peak_resident_bytes()
    start = time.perf_counter()
    model = load_model(folder, device="cpu", dtype=torch.bfloat16)
    seconds = time.perf_counter() - start
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    record = {
        "checkpoint": folder.name,
        "tensors": len(model.state_dict()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "weights_gb": round(weights / GB, 3),
        "peak_gb": round(peak_resident_bytes() / GB, 3),
        "before_gb": round(before / GB, 3),
        "over_weights_gb": round((peak_resident_bytes() - weights) / GB, 3),
        "load_s": round(seconds, 1),
    }
    print(json.dumps(record))


def main() -> None:
    """Measure each in its own process; a table on stderr, one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(args.checkpoints[0])
        return
    records = [child(__file__, str(path), "--child") for path in args.checkpoints]
    for r in records:
        print(
            f"{r['checkpoint']:<20} {r['tensors']} tensors  weights {r['weights_gb']} GB  peak {r['peak_gb']} GB"
            f"  over {r['over_weights_gb']} GB  {r['load_s']} s",
            file=sys.stderr,
        )
    print(json.dumps({"bench": "load", "bound_over_weights_gb": 1.5, "results": records, **provenance()}))


if __name__ == "__main__":
    main()

"""Writes a synthetic checkpoint of the published sizes in bf16: 11 GB, about two minutes.

python bench/make_published.py OUT [--layout original|transformers]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from phi4mm.checkpoint.synthetic import write_synthetic

CONFIG = Path(__file__).parent.parent / "tests" / "golden" / "published.json"


def main() -> None:
    """Write the checkpoint and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layout", choices=["original", "transformers"], default="original")
    args = parser.parse_args()
    config = json.loads(CONFIG.read_text()) | {"torch_dtype": "bfloat16"}
    start = time.perf_counter()
    write_synthetic(config, args.out, layout=args.layout, dtype="bfloat16")
    print(json.dumps({"layout": args.layout, "seconds": round(time.perf_counter() - start, 1)}))


if __name__ == "__main__":
    main()

"""What all turns of peers share. Runs in each peer's own environment, so it imports only the standard library.

A turn loads a model, measures, and prints one JSON line with the keys of `phi4mm bench --json`; a figure that the peer
cannot give is null, and `reasons` says why.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

KEYS = (
    "load_s", "resident_gb", "prefill_tok_s", "decode_tok_s", "decode_gb", "image_first_token_s", "audio_first_token_s",
)  # fmt: skip
IMAGE_SIDE = 448
AUDIO_SECONDS = 30
QUESTION = "What is that?"
# Run by its path, because a peer's environment has no phi4mm; the file needs only the standard library.
MACHINE = Path(__file__).parents[2] / "src/phi4mm/machine.py"


def arguments() -> argparse.Namespace:
    """The arguments of every turn: model, prompt, tokens and threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


def report(record: dict[str, Any], reasons: dict[str, str]) -> None:
    """Print the record with every key, and a reason for every null."""
    full = {key: record.get(key) for key in KEYS} | record
    missing = {key for key in KEYS if full[key] is None} - reasons.keys()
    assert not missing, f"{missing} have no value and no reason"
    print(json.dumps(full | {"reasons": reasons}), flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stamps(tokens: Iterable[object]) -> list[float]:
    """Seconds from now to each token."""
    start = time.perf_counter()
    return [time.perf_counter() - start for _ in tokens]


def rates(times: list[float], prompt: int) -> dict[str, float]:
    """Tokens per second of one answer: prefill from the time to the first token, decode from the median later step."""
    steps = [after - before for before, after in zip(times, times[1:])]  # noqa: B905, RUF007  peers may be on Python 3.9
    return {"prefill_tok_s": prompt / times[0], "decode_tok_s": 1 / statistics.median(steps)}


def resident_gb() -> float:
    """Resident memory of this process now (Linux)."""
    resident: int = runpy.run_path(str(MACHINE))["resident_bytes"]()
    return resident / 1e9

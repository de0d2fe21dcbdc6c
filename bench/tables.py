"""Writes the tables of docs/performance.md and README.md from the records in bench/results/.

    python bench/tables.py [--check]

Each table stands between `<!-- NAME -->` and `<!-- end -->`; `--check` writes nothing and exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
GFLOP_A_TOKEN = 6.44  # twice the decoder's 3.22 G parameters without embeddings
READ_A_TOKEN_GB = 7.67  # decoder and tied head in bf16


def record(name: str) -> dict[str, Any]:
    """One result file."""
    result: dict[str, Any] = json.loads((ROOT / "bench/results" / f"{name}.json").read_text())
    return result


def checkpoints() -> str:
    """Loading and the long audio clip."""
    load, audio = record("load"), record("long_audio")
    rows = [
        f"| load {result['checkpoint']}, bf16 | {result['tensors']} tensors, {result['parameters']:,} parameters, "
        f"peak {result['over_weights_gb']:.2f} GB over the weights, {result['load_s']:.0f} s | `bench/load.py` |"
        for result in load["results"]
    ]
    rows.append(
        f"| {audio['minutes']} minutes of audio through the encoder | {audio['tokens']:,} tokens, "
        f"peak {audio['peak_beyond_weights_gb']:.2f} GB beyond the weights, "
        f"{audio['real_time_factor']:.1f} times real time, "
        f"largest difference to untiled {audio['largest_difference_to_untiled']} | `bench/long_audio.py` |"
    )
    return "\n".join(["| what | figure | command |", "|---|---|---|", *rows])


def transformers() -> str:
    """Prefill and decode compared with transformers' class, and the fraction of the ceiling."""
    lines = [
        "| bf16, one run | ours tok/s | transformers tok/s | ratio | ours, of the ceiling |",
        "|---|---|---|---|---|",
    ]
    for prompt in (512, 64):
        results = record(f"against_transformers_{prompt}")
        ours, theirs, limit = results["medians"]["phi4mm"], results["medians"]["transformers"], results["ceilings"]
        ceiling = {
            "prefill": limit["product_gflop_s"] / GFLOP_A_TOKEN,
            "decode": limit["read_gb_s"] / READ_A_TOKEN_GB,
        }
        for what, title in (("prefill", f"prefill of {prompt}"), ("decode", f"decode after {prompt}")):
            a, b = ours[f"{what}_tok_s"], theirs[f"{what}_tok_s"]
            lines.append(f"| {title} | {a:.2f} | {b:.2f} | {a / b:.2f} | {a / ceiling[what]:.2f} |")
    return "\n".join(lines)


def peers() -> str:
    """phi4mm and other engines in one run: figures, then the reasons for missing ones."""
    results = record("peers")
    prompt, turns = results["settings"]["prompt"], results["settings"]["turns"]
    lines = [
        f"| medians of {turns}, {results['ours']['threads']} threads | weights | prefill of {prompt}, tok/s "
        "(of the ceiling) | decode, tok/s (of the ceiling) | image, s | 30 s of audio, s | load, s | resident, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, system in {"phi4mm": results["ours"], **results["peers"]}.items():
        rates = [
            f"{_cell(system[f'{k}_tok_s'])} ({_cell(system[f'{k}_ceiling_fraction'])})" for k in ("prefill", "decode")
        ]
        costs = [_cell(system[key]) for key in ("image_first_token_s", "audio_first_token_s", "load_s", "resident_gb")]
        weights = system["quantize"] or ("bf16" if system["threads"] else "–")
        lines.append(f"| {system.get('version', name)} | {weights} | {' | '.join(rates + costs)} |")
    reasons: dict[str, set[str]] = {}
    for name, system in results["peers"].items():
        for reason in system["reasons"].values():
            reasons.setdefault(reason, set()).add(name)
    lines += ["", *(f"- {', '.join(sorted(names))}: {reason}." for reason, names in sorted(reasons.items()))]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def nano() -> str:
    """The scores of nano that its training.json records, with their 95 % intervals."""
    scores = json.loads((ROOT / "src/phi4mm/nano/assets/training.json").read_text())["scores"]["rows"]
    rows = [
        f"| {row['title']} | {row['unit']} | {_score(row, row['value'])} | "
        f"{' to '.join(_score(row, end) for end in row['interval'])} |"
        for row in scores.values()
    ]
    return "\n".join(["| held-out task | unit | score | 95 % interval |", "|---|---|---|---|", *rows])


def _score(row: dict[str, Any], value: float) -> str:
    return f"{value:.1f}" if row["unit"] == "BLEU" else f"{value:.1%}"


TABLES = {
    "docs/performance.md": {"checkpoints": checkpoints, "transformers": transformers, "peers": peers},
    "README.md": {"nano": nano},
}


def main() -> int:
    """Write every table, or with --check compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, tables in TABLES.items():
        text = old = (ROOT / name).read_text()
        for table, make in tables.items():
            before, start, rest = text.partition(f"<!-- {table} -->\n")
            _, end, after = rest.partition("<!-- end -->")
            if not start or not end:
                sys.exit(
                    f"{name} has no <!-- {table} --> followed by <!-- end -->; add both lines where the table belongs"
                )
            text = f"{before}{start}{make()}\n{end}{after}"
        if text != old:
            stale.append(name)
            if not check:
                (ROOT / name).write_text(text)
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'none'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

"""Compares phi4mm with other engines that run this model: same sizes, prompts and threads, alternating in one run.

    python bench/peers.py [--quantize int4] [--turns 2] [--only llama-cpp-python ...] [--json]

Each peer has its own environment under --work, made with pip on first use (llama.cpp is compiled, about 20 minutes),
and loads synthetic weights of the published sizes, also made on first use (40 GB of files, at most 21 GB of memory). A
turn is a new process. Prints a table, and with --json one JSON line last: `ours`; `peers` by name with the same keys,
null with a reason where a peer has no figure; `ratios`, how many times better ours is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from measure import provenance
from turns import inputs

from phi4mm.config.load import load_config
from phi4mm.diagnostics.ceilings import prefill_flops
from phi4mm.machine import usable_cores

Record: TypeAlias = dict[str, Any]
TURNS = Path(__file__).with_name("turns")
TIMEOUT = 3600  # seconds of one turn
RATES = ("prefill_tok_s", "decode_tok_s")  # larger is better; for COSTS smaller is better
COSTS = ("image_first_token_s", "audio_first_token_s", "load_s", "resident_gb")
FRACTIONS = ("prefill_ceiling_fraction", "decode_ceiling_fraction")
KEYS = (*RATES, *FRACTIONS, *COSTS, "threads", "quantize")


@dataclass(frozen=True)
class Peer:
    """A peer: its pip requirements and CMake options, the script of its turn, and the reason if it cannot run."""

    requirements: tuple[str, ...]
    script: str
    cmake: str = ""
    cannot: str = ""


PEERS = {
    "llama-cpp-python": Peer(("llama-cpp-python==0.3.36", "gguf"), "llama_cpp_turn.py", "-DGGML_NATIVE=ON"),
    "mistralrs": Peer(("mistralrs==0.9.5", "numpy", "pillow", "soundfile"), "mistralrs_turn.py"),
    "onnxruntime-genai": Peer(("onnxruntime-genai==0.18.0", "onnx", "onnx-ir", "tqdm"), "onnxruntime_genai_turn.py"),
    "transformers": Peer((), "transformers_turn.py"),  # in this environment: its turn prepares media with phi4mm
    "openvino-genai": Peer(
        (), "", cannot="its exporter runs the published model's own code, which no longer loads and is in no package"
    ),
}


def main() -> None:
    """Prepare the peers, take the turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("~/.cache/phi4mm-peers"), help="environments and weights")
    parser.add_argument("--quantize", choices=["int8", "int4"], help="ours in 8 or 4 bits; without it in bf16")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    work = args.work.expanduser().resolve()
    original = inputs.checkpoint(work / "inputs/original", "original")
    ours = inputs.quantized(work / f"inputs/{args.quantize}", original, args.quantize) if args.quantize else original
    commands: dict[str, list[str] | str] = {name: prepared(name, work, original) for name in args.only}
    turns: dict[str, list[Record]] = {"ours": [], **{name: [] for name in args.only}}
    for _ in range(args.turns):
        turns["ours"].append(busy() | our_turn(ours, args))
        for name in args.only:
            turns[name].append(busy() | peer_turn(commands[name], args, work / f"{name}.log"))
            print(f"{name}: {turns[name][-1]}", file=sys.stderr)
    results = {name: medians(records) for name, records in turns.items()}
    limits = results["ours"]["ceilings"]
    flops = prefill_flops(load_config(original).text, args.prompt) / args.prompt
    for name in args.only:
        results[name] |= fractions(results[name], flops, limits)
    result = {
        "bench": "peers",
        "ours": results["ours"],
        "peers": {name: results[name] for name in args.only},
        "ratios": {name: ratios(results["ours"], results[name]) for name in args.only},
        "settings": {name: getattr(args, name) for name in ("prompt", "tokens", "turns")},
        "turns": turns,
        **provenance(),
    }
    print(as_text(results), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(result))


def prepared(name: str, work: Path, original: Path) -> list[str] | str:
    """The command of a peer's turn without its numbers, or the reason why it cannot run."""
    peer = PEERS[name]
    if peer.cannot:
        return peer.cannot
    try:
        python = environment(work / name, peer) if peer.requirements else Path(sys.executable)
        model = {
            "llama-cpp-python": lambda: inputs.gguf(work / "inputs/q4_0.gguf", python),
            "mistralrs": lambda: inputs.with_tokenizer(work / "inputs/mistralrs", original),
            "onnxruntime-genai": lambda: inputs.onnx(work / "inputs/onnx", original, site_packages(work / name)),
            "transformers": lambda: inputs.checkpoint(work / "inputs/transformers", "transformers"),
        }[name]()
    except subprocess.CalledProcessError as error:
        return f"{Path(error.cmd[0]).name} {' '.join(map(str, error.cmd[1:4]))} ... failed with {error.returncode}"
    return [str(python), str(TURNS / peer.script), str(model)]


def environment(folder: Path, peer: Peer) -> Path:
    """The interpreter of a peer's environment, made on first use; the file `installed` shows that pip succeeded."""
    python, stamp = folder / "bin/python", folder / "installed"
    if not stamp.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *peer.requirements]
        subprocess.run(install, check=True, stdout=sys.stderr, env=os.environ | {"CMAKE_ARGS": peer.cmake})
        stamp.touch()
    return python


def site_packages(folder: Path) -> Path:
    """The site-packages folder of an environment."""
    return next(folder.glob("lib/python3*/site-packages"))


def busy() -> Record:
    """The load average of the minute before a turn; a turn on a busy machine cannot be compared."""
    return {"load_average": os.getloadavg()[0]}


def our_turn(folder: Path, args: argparse.Namespace) -> Record:
    """`phi4mm bench --json` in a new process."""
    command = [sys.executable, "-m", "phi4mm", "bench", str(folder), "--turns", "1", "--json", *numbers(args)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def peer_turn(command: list[str] | str, args: argparse.Namespace, log: Path) -> Record:
    """A peer's record; nulls and a reason if it ended without one."""
    if isinstance(command, str):
        return failure(command)
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")}
    with log.open("w") as errors:
        try:
            done = subprocess.run(
                [*command, *numbers(args)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=TIMEOUT,
                env=os.environ | threads | {"HF_HUB_OFFLINE": "1"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return failure(f"no result within {TIMEOUT} s")
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return failure(f"ended with code {done.returncode}: {' '.join(last)}")
    record: Record = json.loads(done.stdout.splitlines()[-1])
    return record


def numbers(args: argparse.Namespace) -> list[str]:
    """The numeric arguments of every turn."""
    return ["--prompt", str(args.prompt), "--tokens", str(args.tokens), "--threads", str(args.threads)]


def failure(reason: str) -> Record:
    """A record of nulls with one reason."""
    return dict.fromkeys(KEYS) | {"reasons": dict.fromkeys(KEYS, reason)}


def medians(records: list[Record]) -> Record:
    """The median of every float over the turns that have it; other values are those of the last successful turn."""
    base = records[-1]
    for record in records:
        if record.get("decode_tok_s") is not None:
            base = record
    measured = [key for key, value in base.items() if isinstance(value, float)]
    return base | {key: statistics.median(r[key] for r in records if r.get(key) is not None) for key in measured}


def fractions(record: Record, flops: float, limits: Record) -> Record:
    """A peer's fractions of the ceilings that `phi4mm bench` measured in this run."""
    prefill, decode, step = (record.get(key) for key in ("prefill_tok_s", "decode_tok_s", "decode_gb"))
    reasons = dict(record["reasons"])
    if decode is not None and step is None:
        reasons["decode_ceiling_fraction"] = reasons["decode_gb"]
    return {
        "prefill_ceiling_fraction": prefill and prefill * flops / (limits["product_gflop_s"] * 1e9),
        "decode_ceiling_fraction": decode and step and decode * step / limits["read_gb_s"],
        "reasons": reasons,
    }


def ratios(ours: Record, theirs: Record) -> dict[str, float | None]:
    """How many times better ours is: ours / theirs for rates, theirs / ours for seconds and memory."""
    return {
        **{key: theirs[key] and ours[key] / theirs[key] for key in RATES},
        **{key: theirs[key] and ours[key] and theirs[key] / ours[key] for key in COSTS},
    }


def as_text(results: dict[str, Record]) -> str:
    """The results as a text table."""
    titles = ("prefill tok/s", "decode tok/s", "image s", "audio s", "load s", "resident GB")
    lines = [f"{'':<20}" + "".join(f"{title:>15}" for title in titles)]
    for name, record in results.items():
        cells = ["-" if record[key] is None else f"{record[key]:.2f}" for key in (*RATES, *COSTS)]
        lines.append(f"{name:<20}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Scores nano on its tasks, with held-out sentences, voices, scenes and tool requests.

    python bench/nano_scores.py [--model nano] [--examples 200] [--seed 0] [--quantize int4]

Prints a table, then one JSON line. Needs the speech synthesizer: pip install 'phi4mm[synth]'.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import phi4mm
from phi4mm.config.engine import QUANTIZATIONS
from phi4mm.inference.model import Model
from phi4mm.metrics.calls import same_calls
from phi4mm.metrics.words import exact_match, word_error_rate
from phi4mm.nano.synth import world
from phi4mm.protocol.request import ChatRequest
from phi4mm.protocol.sampling import SamplingParams

BATCH = 50
MAX_TOKENS = 60
THRESHOLDS = {"scene": 0.95, "transcribe": 0.05, "tool_call": 0.95, "spoken_scene": 0.80}


def main() -> int:
    """Score every task and compare with the thresholds; returns 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--examples", type=int, default=200, help="held-out examples a task")
    parser.add_argument("--seed", type=int, default=0, help="number of the first example")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, help="pack the weights while loading")
    parser.add_argument("--record", type=Path, help="write the scores into this training.json too")
    parser.add_argument("--wrong", action="store_true", help="show wrong answers")
    args = parser.parse_args()
    start, model = time.perf_counter(), phi4mm.load(args.model, quantize=args.quantize)
    scores: dict[str, float] = {}
    for task in world.TASKS:
        examples = [world.example("held_out", args.seed + n, task) for n in range(args.examples)]
        replies = answers(model, examples)
        scores[task] = score(task, examples, replies)
        threshold = f"  threshold {THRESHOLDS[task]:.0%}" if task in THRESHOLDS else ""
        measure = "word error rate" if task == "transcribe" else "correct"
        print(f"{task:<14}{scores[task]:>7.1%} {measure}{threshold}", flush=True)
        if args.wrong:
            show_wrong(examples, replies)
    record = {
        "model": args.model,
        "examples": args.examples,
        "seed": args.seed,
        "quantize": args.quantize,
        "scores": scores,
    }
    if args.record:
        training = json.loads(args.record.read_text(encoding="utf-8"))
        shown = {task: round(value, 4) for task, value in scores.items()}
        training["scores"] = {"held_out_examples": args.examples, "first": args.seed, **shown}
        args.record.write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record | {"seconds": round(time.perf_counter() - start, 1)}))
    return int(
        any(
            (scores[task] > limit) if task == "transcribe" else (scores[task] < limit)
            for task, limit in THRESHOLDS.items()
        )
    )


def answers(model: Model, examples: list[world.Example]) -> list[str]:
    """The model's greedy answers, BATCH requests at a time."""
    requests = [ChatRequest(e.messages, tools=e.tools, params=SamplingParams(max_tokens=MAX_TOKENS)) for e in examples]
    replies = [reply for n in range(0, len(requests), BATCH) for reply in model.batch(requests[n : n + BATCH])]
    return [reply.text for reply in replies]


def score(task: world.Task, examples: list[world.Example], replies: list[str]) -> float:
    """The word error rate for transcription, else the fraction of correct answers."""
    pairs = [(example.answer, answer) for example, answer in zip(examples, replies, strict=True)]
    if task == "transcribe":
        return word_error_rate(pairs)
    correct = same_calls if task == "tool_call" else exact_match
    return sum(correct(reference, answer) for reference, answer in pairs) / len(pairs)


def show_wrong(examples: list[world.Example], replies: list[str]) -> None:
    """Print a line with question, expected answer and answer for every wrong one."""
    for example, answer in zip(examples, replies, strict=True):
        if answer != example.answer:
            words = [part for part in example.messages[-1].parts if isinstance(part, str)]
            print(f"    {example.spoken or ' '.join(words)!r}: {example.answer!r}, not {answer!r}")


if __name__ == "__main__":
    sys.exit(main())

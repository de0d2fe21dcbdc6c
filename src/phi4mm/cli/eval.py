"""`phi4mm eval nano`: score a model on nano's held-out tasks; `phi4mm eval compare A B`: compare two records."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4mm.config.engine import DTYPES, QUANTIZATIONS

if TYPE_CHECKING:
    from phi4mm.errors import PhiError
    from phi4mm.evaluation.comparison import Difference
    from phi4mm.evaluation.records import Record, Result
    from phi4mm.evaluation.rows import Case, Row, Task
    from phi4mm.evaluation.units import Counts

EXAMPLES = 200
SHOWN = 160  # characters of a wrong answer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `eval`."""
    parser.add_argument("what", choices=("nano", "compare"), help="nano's tasks, or the comparison of two records")
    parser.add_argument("records", metavar="FILE", nargs="*", type=Path, help="of compare: before and after")
    parser.add_argument("--model", default="nano", metavar="MODEL", help="`nano`, a folder or a hub id")
    parser.add_argument("--rows", metavar="A,B", help="only these rows")
    parser.add_argument("--examples", type=_number(1), metavar="N", help=f"held-out examples a row ({EXAMPLES})")
    parser.add_argument("--seed", type=_number(0), default=0, metavar="N", help="number of the first example (0)")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, metavar="NAME", help="weights while loading: int8, int4")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, metavar="NAME", help=", ".join(DTYPES))
    parser.add_argument("--wrong", action="store_true", help="show wrong answers on stderr")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the record, for compare")
    parser.add_argument("--record", action="store_true", help="put the values into the model's training.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object; the table then goes to stderr")


def run(args: argparse.Namespace) -> int:
    """Evaluate or compare, and print. Of a comparison in which a row is worse the exit code is 1."""
    if args.what == "compare":
        return _compare(args)
    if args.records:
        raise argparse.ArgumentError(None, f"eval nano takes no file, but got {str(args.records[0])!r:.80}")
    if args.out and not args.out.absolute().parent.is_dir():
        raise argparse.ArgumentError(None, f"--out: there is no folder {str(args.out.parent)!r:.80}")
    from phi4mm.evaluation.records import write_record
    from phi4mm.nano.evaluation import write_scores

    record, folder = _evaluate(args)
    print(as_table(record), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(record.as_json())
    if args.out:
        write_record(record, args.out)
    if args.record:
        write_scores(record, folder)
    return 0 if record.rows else 1


def _evaluate(args: argparse.Namespace) -> tuple[Record, Path]:
    """The record, and the folder of the model."""
    from phi4mm.evaluation.rows import select
    from phi4mm.nano.evaluation import tasks

    selected = select(tasks(), args.rows.split(",") if args.rows else None)

    import phi4mm
    from phi4mm.checkpoint.hub import resolve
    from phi4mm.evaluation.evaluate import BATCH, evaluate
    from phi4mm.evaluation.records import Record, provenance

    examples, start = args.examples or EXAMPLES, time.perf_counter()
    folder = resolve(args.model)
    model = phi4mm.load(folder, device=args.device, dtype=args.dtype, quantize=args.quantize)
    results, left_out = evaluate(
        model,
        selected,
        examples=examples,
        seed=args.seed,
        progress=_Progress(),
        answered=_show_wrong if args.wrong else _show_nothing,
    )
    settings = {
        "examples": examples,
        "seed": args.seed,
        "batch": BATCH,
        "quantize": args.quantize,
        "device": model.settings.device,
        "dtype": model.settings.dtype,
    }
    facts = provenance(args.model, folder, settings) | {"seconds": round(time.perf_counter() - start, 1)}
    return Record(results, left_out, facts), folder


def as_table(record: Record) -> str:
    """A line a row: value, interval, examples, bar; then the rows that are left out, and errors."""
    width = max((len(name) for name in (*record.rows, *record.left_out)), default=0)
    lines = [f"{'row':<{width}}{'value':>8}  {'95 % interval':<16}{'examples':>8}  {'bar':<8}unit"]
    lines += [_line(name, row, width) for name, row in record.rows.items()]
    lines += [f"{name:<{width}}  left out: {reason}" for name, reason in record.left_out.items()]
    for name, row in record.rows.items():
        lines += [f"{name}, example {number}, counted as wrong: {error}" for number, error in row.errors.items()]
    return "\n".join(lines)


def _line(name: str, row: Result, width: int) -> str:
    unit = row.measured_in
    spread = " to ".join(map(unit.show, row.interval)) if row.interval else "-"
    bar = unit.show(row.bar) if row.bar is not None else ""
    return f"{name:<{width}}{unit.show(row.value):>8}  {spread:<16}{row.count:>8}  {bar:<8}{row.unit}: {row.title}"


def _compare(args: argparse.Namespace) -> int:
    if len(args.records) != 2:
        raise argparse.ArgumentError(None, f"eval compare takes two records, before and after; got {len(args.records)}")
    from dataclasses import asdict

    from phi4mm.evaluation.comparison import compare
    from phi4mm.evaluation.records import read_record

    before, after = map(read_record, args.records)
    differences, reasons = compare(before, after)
    if args.json:
        rows: dict[str, Any] = {name: asdict(difference) for name, difference in differences.items()}
        print(json.dumps({"rows": rows, "left_out": reasons}))
    else:
        width = max(map(len, (*differences, *reasons)))
        for name, difference in differences.items():
            print(f"{name:<{width}}  {_difference(difference)}")
        for name, reason in reasons.items():
            print(f"{name:<{width}}  {reason}")
    return int(any(difference.verdict == "worse" for difference in differences.values()))


def _difference(found: Difference) -> str:
    """`better: 79.0% to 91.0%, +12.0 (+4.1 to +19.9), paired`, in hundredths of the whole."""
    from phi4mm.evaluation.units import UNITS

    unit = UNITS[found.unit]
    low, high = (100 / unit.whole * end for end in found.interval)
    change = 100 / unit.whole * found.difference
    how = "paired" if found.paired else "other examples"
    return (
        f"{found.verdict}: {unit.show(found.before)} to {unit.show(found.after)}, "
        f"{change:+.1f} ({low:+.1f} to {high:+.1f}), {how}, {found.unit}"
    )


class _Progress:
    """Shows how far a task is: one line that grows on a terminal, else a line a task."""

    def __call__(self, task: Task, done: int, count: int) -> None:
        names = ", ".join(row.name for row in task.rows)
        if sys.stderr.isatty():
            ends = "\n" if done == count else ""
            print(f"\r{names}: {done} of {count}\x1b[K", end=ends, file=sys.stderr, flush=True)
        elif done == count:
            print(f"{names}: {count} examples", file=sys.stderr, flush=True)


def _show_wrong(row: Row, case: Case, answer: str | PhiError, counts: Counts) -> None:
    if counts != row.metric.counts(case.reference, case.reference):
        asked = " ".join(part for part in case.messages[-1].parts if isinstance(part, str))
        shown = f"{row.name}: {asked!r:.{SHOWN}}: {case.reference!r:.{SHOWN}}, not {str(answer)!r:.{SHOWN}}"
        print(shown, file=sys.stderr)


def _show_nothing(row: Row, case: Case, answer: str | PhiError, counts: Counts) -> None:
    pass


def _number(minimum: int) -> Callable[[str], int]:
    """An argument type for argparse: a whole number of at least `minimum`."""

    def count(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) < 1 << 31:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}, not {text!r:.40}")
        return int(text)

    return count

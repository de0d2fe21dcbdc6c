"""Records of evaluations: results of rows with what they were measured on, as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from phi4mm.config.json_file import read_json_as
from phi4mm.config.validate import is_integer, is_number, shown
from phi4mm.errors import ConfigError
from phi4mm.evaluation.intervals import Interval
from phi4mm.evaluation.units import UNITS, Counts, Unit
from phi4mm.machine import code_commit, cpu_name, usable_cores

KIND = "evaluation"
MAX_BYTES = 256 << 20
PACKAGES = ("phi4mm", "torch", "numpy", "pillow", "soxr", "tokenizers", "sacrebleu", "espeakng-loader", "llguidance")


@dataclass(frozen=True)
class Result:
    """The result of a row.

    value     of all examples, in `unit`; None if nothing could be counted, or no example had an answer
    interval  95 %
    count     examples, those with errors included
    seed      number of the first example
    seconds   that making the examples and answering them took, shared by the rows of a task
    digest    SHA-256 of the examples: records with the same one can be compared example by example
    errors    what went wrong, by the number of the example; these count as wrong
    counts    of each example, in order: what is summed for the value
    """

    title: str
    unit: str
    bar: float | None
    value: float | None
    interval: Interval | None
    count: int
    seed: int
    seconds: float
    digest: str
    errors: Mapping[int, str]
    counts: tuple[Counts, ...]

    @property
    def measured_in(self) -> Unit:
        """The unit that is named `unit`."""
        return UNITS[self.unit]


@dataclass(frozen=True)
class Record:
    """The results of an evaluation.

    rows        results by the names of rows
    left_out    rows that could not run, with the reason and what to do
    provenance  model, digest of its weights, versions, commit, processor, settings
    """

    rows: Mapping[str, Result]
    left_out: Mapping[str, str]
    provenance: Mapping[str, Any]

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"kind": KIND, **asdict(self)}, ensure_ascii=False)


def provenance(model: str, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a record was measured with. Folders appear by their last name only."""
    return {
        "model": Path(model).name,
        "weights": weights_digest(folder),
        "commit": code_commit(),
        "versions": _versions(),
        "processor": cpu_name(),
        "cores": usable_cores(),
        "settings": dict(settings),
    }


def _versions() -> dict[str, str]:
    """The packages that a value may depend on, as far as they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def weights_digest(folder: Path) -> str:
    """SHA-256 of the files of weights, of the configuration and of the tokenizer, in the order of their names."""
    found = hashlib.sha256()
    for pattern in ("*.safetensors", "*config.json", "quantization.json", "tokenizer.json"):
        for path in sorted(folder.glob(pattern)):
            found.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    found.update(block)
    return found.hexdigest()


def write_record(record: Record, path: Path) -> None:
    """Write the file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(record.as_json() + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """Read a record that `write_record` or `--json` wrote. Raises ConfigError for anything else."""
    data = read_json_as(path, dict, "a record of phi4mm eval", ConfigError, MAX_BYTES)
    if data.get("kind") != KIND or not all(
        isinstance(data.get(key), dict) for key in ("rows", "left_out", "provenance")
    ):
        raise ConfigError(f"{path} is no record of phi4mm eval; make one with phi4mm eval nano --out FILE")
    rows = {name: _result(f"{path}, row {name:.60}", row) for name, row in data["rows"].items()}
    return Record(rows, data["left_out"], data["provenance"])


def _result(where: str, row: Any) -> Result:
    """A result as it stands in the file, checked."""
    if not isinstance(row, dict) or set(row) != set(Result.__dataclass_fields__):
        raise ConfigError(f"{where}: expected the keys {', '.join(Result.__dataclass_fields__)}")
    if row["unit"] not in UNITS:
        raise ConfigError(f"{where}: unit is {shown(row['unit'])}; expected one of {', '.join(UNITS)}")
    width, counts = UNITS[row["unit"]].width, row["counts"]
    if (
        not isinstance(counts, list)
        or not all(_is_counts(each, width) for each in counts)
        or row["count"] != len(counts)
    ):
        raise ConfigError(f"{where}: expected {width} whole numbers from 0 in `counts` for each example of `count`")
    spread = row["interval"]
    if not (spread is None or (isinstance(spread, list) and len(spread) == 2 and all(map(is_number, spread)))):
        raise ConfigError(f"{where}: interval is {shown(spread)}; expected two numbers or null")
    if not all(row[name] is None or is_number(row[name]) for name in ("value", "bar")):
        raise ConfigError(f"{where}: value is {shown(row['value'])}, bar {shown(row['bar'])}; expected numbers or null")
    if not isinstance(row["digest"], str) or not isinstance(row["errors"], dict):
        raise ConfigError(f"{where}: expected text as digest and an object as errors")
    kept = {"interval": None if spread is None else tuple(spread), "counts": tuple(map(tuple, counts))}
    return Result(**(row | kept))


def _is_counts(value: object, width: int) -> bool:
    return isinstance(value, list) and len(value) == width and all(is_integer(n) and 0 <= n < 2**40 for n in value)

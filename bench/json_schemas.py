"""How many JSON schemas are held, and is any of them held wrongly?

    python bench/json_schemas.py SUITE [FOLDER]

SUITE is a folder of the JSON-Schema-Test-Suite (tests/draft2020-12): each schema with values that it allows or forbids.
FOLDER holds schemas of any origin, one a file; those of more than 16 kB of JSON are left out. In nano's vocabulary.
What is refused, and what is decided wrongly, on stderr; one JSON line last: numbers, and seconds to start a grammar.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from measure import provenance

import phi4mm
from phi4mm.errors import InputError
from phi4mm.processing.grammar import grammar_source
from phi4mm.processing.structured import Grammars, Matcher
from phi4mm.protocol.request import ResponseFormat

MAX_SCHEMA = 16_000  # characters of JSON


def main() -> None:
    """Measure the suite, and the folder if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path)
    parser.add_argument("folder", nargs="?", type=Path)
    args = parser.parse_args()
    model = phi4mm.load("nano", device="cpu")
    grammars = Grammars(model.processor.tokenizer, model.config.text.vocab_size, model._eos_ids)
    record = {"suite": suite(grammars, args.suite)} | (
        {"folder": folder(grammars, args.folder)} if args.folder is not None else {}
    )
    print(json.dumps(record | provenance()))


def suite(grammars: Grammars, path: Path) -> dict[str, int]:
    """Every value of every schema that is held."""
    counts: Counter[str] = Counter(forbidden_accepted=0, allowed_refused=0)
    for file in sorted(path.glob("*.json")):
        for group in json.loads(file.read_text()):
            counts["schemas"] += 1
            matcher = started(grammars, group["schema"], file.name)
            if matcher is None:
                continue
            counts["held"] += 1
            for test in group["tests"]:
                kind = "allowed" if test["valid"] else "forbidden"
                counts[kind] += 1
                if accepts(grammars, matcher.fork(), test["data"]) != test["valid"]:
                    counts["allowed_refused" if test["valid"] else "forbidden_accepted"] += 1
                    print(f"wrong: {kind} {test['data']!r:.60} by {group['schema']!r:.200}", file=sys.stderr)
    return dict(counts)


def folder(grammars: Grammars, path: Path) -> dict[str, float]:
    """How many schemas of a folder are held, and how long that takes."""
    seconds, held = [], 0
    for file in sorted(path.glob("*.json")):
        schema = json.loads(file.read_text(encoding="utf-8-sig"))
        if len(json.dumps(schema)) <= MAX_SCHEMA:
            begin = time.perf_counter()
            held += started(grammars, schema, file.name) is not None
            seconds.append(time.perf_counter() - begin)
    last = statistics.quantiles(seconds, n=100)[98]
    return {"schemas": len(seconds), "held": held, "median_s": statistics.median(seconds), "p99_s": last}


def started(grammars: Grammars, schema: Any, where: str) -> Matcher | None:
    """A matcher for the schema, or None, with the reason on stderr."""
    try:
        source = grammar_source(ResponseFormat(schema={} if schema is True else schema))
        return None if source is None else grammars.start(source)
    except InputError as error:
        print(f"{where}: {error!s:.160}", file=sys.stderr)
        return None


def accepts(grammars: Grammars, matcher: Matcher, value: Any) -> bool:
    """Whether the grammar allows the value as json.dumps writes it."""
    for id in grammars.tokenizer.encode_text(json.dumps(value, ensure_ascii=False)):
        if not allows(matcher, id):
            return False
        matcher.accept(id)
    return any(allows(matcher, id) for id in grammars.eos_ids)


def allows(matcher: Matcher, id: int) -> bool:
    """Whether this token may come next."""
    return bool(matcher.mask().view(np.uint32)[id // 32] >> np.uint32(id % 32) & np.uint32(1))


if __name__ == "__main__":
    main()

"""Does any hostile image or audio clip end a process that decodes media, or spoil the request after it?

Damaged files of every kind that bench/fuzz.py makes go through `server.preparing.Preparer` as a server sends them, four
at a time to two processes. Each must become a prompt or be refused as it would be alone; a process that ends, a place
that is lost, or a good request that is answered otherwise than before is a fault. Then the same good requests are timed
through the preparer and directly.

    python bench/media.py [--cases 10000] [--seed 0]

One JSON line last; exit status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import soundfile
from fuzz import NANO, READERS, case
from measure import provenance

from phi4mm.errors import InputError
from phi4mm.processing.processor import Processor
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image, Message
from phi4mm.server.preparing import Preparer

IMAGES = ("png", "jpeg", "webp", "tiff", "bmp", "ppm")
CLIPS = ("wav", "aiff", "flac", "ogg", "mp3", "mp2", "mp4", "webm")
AT_ONCE, PROCESSES, CHECK_EVERY, TURNS = 4, 2, 100, 30
GAVE_UP = "the media of the request "  # how a refusal begins whose process gave no answer


def good() -> dict[str, list[Message]]:
    """The requests that are timed, and that must stay right."""
    noise = np.random.default_rng(0)
    image, clip = io.BytesIO(), io.BytesIO()
    PIL.Image.fromarray(noise.integers(0, 255, (448, 448, 3), dtype=np.uint8)).save(image, "PNG")
    soundfile.write(clip, noise.uniform(-0.5, 0.5, 160_000), 16_000, format="WAV")
    return {
        "text": [Message.user("What is the weather in Paris?")],
        "image": [Message.user(Image(image.getvalue()), "What is shown?")],
        "audio": [Message.user(Audio(clip.getvalue()), "What is said?")],
    }


def facts(prompt: Prompt) -> tuple[Any, ...]:
    """What tells two prompts apart."""
    return prompt.ids, [(span.start, span.length, span.digest) for span in prompt.spans]


def damaged(cases: int, seed: int) -> Iterator[tuple[int, str, Image | Audio]]:
    """So many damaged files, one kind after the other."""
    valid = {name: READERS[name].valid() for name in (*IMAGES, *CLIPS)}
    for number, name in zip(range(cases), itertools.cycle(valid), strict=False):
        data = case(READERS[name], valid[name], f"{name} {seed} {number}")
        yield number, f"{name} {number}", Image(data) if name in IMAGES else Audio(data)


async def fuzz(preparer: Preparer, requests: dict[str, list[Message]], cases: int, seed: int) -> dict[str, Any]:
    """Send all cases; what became of them, and what was wrong."""
    counts, wrong = Counter[str](), []
    expected = {name: facts(await preparer.chat(messages)) for name, messages in requests.items()}
    processes = set(preparer.processes)
    left = iter(damaged(cases, seed))

    async def client() -> None:
        for number, name, item in left:
            try:
                await preparer.chat([Message.user(item)])
                counts["read"] += 1
            except InputError as error:
                counts["refused"] += 1
                if str(error).startswith(GAVE_UP):
                    wrong.append(f"{name}: {error}")
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error!s:.200}")
            if number % CHECK_EVERY == 0:
                for kind, messages in requests.items():
                    if facts(await preparer.chat(messages)) != expected[kind]:
                        wrong.append(f"{name}: the {kind} after it is another one")
                        continue
                    counts["good"] += 1

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    seconds = round(time.perf_counter() - start, 1)
    replaced = len(processes - set(preparer.processes))
    if replaced or len(preparer.processes) != PROCESSES:
        wrong.append(f"{replaced} processes were replaced, {len(preparer.processes)} are there")
    largest = max(map(_peak_mb, preparer.processes))
    return {**counts, "seconds": seconds, "replaced": replaced, "peak_mb": largest, "wrong": wrong[:20]}


async def times(preparer: Preparer, processor: Processor, requests: dict[str, list[Message]]) -> dict[str, Any]:
    """Milliseconds of each good request, the median: through the preparer, and directly."""
    found = {}
    for name, messages in requests.items():
        prepared, direct = [], []
        for _ in range(TURNS):
            start = time.perf_counter()
            await preparer.chat(messages)
            prepared.append(time.perf_counter() - start)
            start = time.perf_counter()
            processor.chat(messages)
            direct.append(time.perf_counter() - start)
        found[name] = {
            "prepared_ms": round(1000 * statistics.median(prepared), 2),
            "direct_ms": round(1000 * statistics.median(direct), 2),
        }
    return found


def _peak_mb(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


async def run(cases: int, seed: int) -> dict[str, Any]:
    """Both."""
    processor = Processor.from_folder(NANO, context=131_072)
    preparer = Preparer(processor, processes=PROCESSES)
    try:
        requests = good()
        found = await fuzz(preparer, requests, cases, seed)
        return found | {"times": await times(preparer, processor, requests)}
    finally:
        preparer.close()


def main() -> int:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    record = {"cases": args.cases, "seed": args.seed} | asyncio.run(run(args.cases, args.seed))
    print(json.dumps(record | {"provenance": provenance()}))
    return 1 if record["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

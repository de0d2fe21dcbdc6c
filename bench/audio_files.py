"""Is any audio file silently shortened? Every container and codec that is written here, cut at many places.

Each file is decoded whole (beside another decoder), as it is written to a pipe, joined to itself, and cut at many
places. What differs from the file and is not refused is wrong. Then 30 minutes of each common format are timed.

    python bench/audio_files.py [--cuts 300]

Needs the extras media and test. A table on stderr, one JSON line last; exit status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import soundfile
from measure import provenance

sys.path.insert(0, str(Path(__file__).parent.parent))

from phi4mm.processing.audio_file import decode
from tests.processing.audio_files import of_libsndfile, of_pyav, outcome, sound, with_pipe_header, wrong

RATE = 16_000
SECONDS = 1_790


def checked(cuts: int) -> tuple[list[dict[str, Any]], list[str]]:
    """One line for each file, and everything that is wrong."""
    lines, faults = [], []
    for file in (*of_libsndfile(), *of_pyav()):
        found = wrong(file, cuts)
        faults += found
        whole = outcome(file.data)
        piped = [file.piped[0]] if file.piped else list(with_pipe_header(file.name, file.data))
        lines.append(
            {
                "file": file.name,
                "bytes": len(file.data),
                "samples": None if isinstance(whole, str) else len(whole),
                "joined": became([file.data * 2]),
                "piped": became(piped),
                "wrong": len(found),
            }
        )
        print(*lines[-1].values(), sep="\t", file=sys.stderr)
    return lines, faults


def became(files: list[bytes]) -> str | None:
    """Whether all of them are decoded; None where there are none."""
    if not files:
        return None
    return "refused" if any(isinstance(outcome(data), str) for data in files) else "whole"


def timed(format: str, subtype: str | None) -> dict[str, Any]:
    """Seconds to decode half an hour, by phi4mm and by libsndfile alone."""
    samples, file = sound(SECONDS * RATE), io.BytesIO()
    # libsndfile's Vorbis encoder overflows its stack when it gets everything at once.
    with soundfile.SoundFile(file, "w", RATE, 1, format=format, subtype=subtype) as output:
        for at in range(0, len(samples), 65_536):
            output.write(samples[at : at + 65_536])
    begin = time.perf_counter()
    count = sum(len(block) for _, _, block in decode(io.BytesIO(file.getvalue()), SECONDS + 1))
    middle = time.perf_counter()
    alone = len(soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0])
    end = time.perf_counter()
    return {
        "file": f"{format} {subtype or ''}".strip(),
        "samples": count,
        "samples_libsndfile": alone,
        "seconds": round(middle - begin, 3),
        "seconds_libsndfile": round(end - middle, 3),
    }


def main() -> None:
    """Check, time, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=300, help="places at which each file is cut")
    cuts = parser.parse_args().cuts
    lines, faults = checked(cuts)
    times = [timed(*kind) for kind in (("WAV", None), ("FLAC", None), ("MP3", None), ("OGG", None), ("OGG", "OPUS"))]
    for line in (*times, *faults):
        print(line, file=sys.stderr)
    print(
        json.dumps(
            {
                "bench": "audio_files",
                "cuts_of_each": cuts,
                **provenance(),
                "files": lines,
                "times": times,
                "faults": faults,
            }
        )
    )
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()

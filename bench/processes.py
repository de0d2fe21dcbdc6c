"""Do hundreds of processes, each begun from nothing on a busy machine, compute one and the same numbers, bit for bit?

What a library sets up on first use, by several threads at once, may be wrong in one process of fifty (case D1). In each
process, four threads at once load the native kernels and read the same files of ten formats; then it runs a forward
pass, the same pass again, and answers two questions, one of them a choice. Several processes run together, beside
others that only keep the cores busy.

    python bench/processes.py [--count 500] [--together 4] [--busy 1] [--without-remedy]

`--without-remedy` leaves out `kernels.vector_math.initialize`, and differences are counted instead of being faults.
Progress on stderr, one JSON line last; exit status 1 where numbers differ or a process fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import PIL.Image
import soundfile

EXAMPLES = Path(__file__).parent.parent / "examples"
IMAGES = ("png", "jpeg", "webp", "tiff", "bmp")
CLIPS = {"PCM_16": "wav", "PCM_24": "flac", "VORBIS": "ogg", "OPUS": "ogg", "MPEG_LAYER_III": "mp3"}
READERS = 4  # threads that read the same files at once


def write_files(folder: Path) -> None:
    """The same image and the same audio clip in every format."""
    with PIL.Image.open(EXAMPLES / "scene.png") as image:
        for kind in IMAGES:
            image.convert("RGB").save(folder / f"image.{kind}")
    samples, _ = soundfile.read(EXAMPLES / "question.flac")
    for subtype, kind in CLIPS.items():
        soundfile.write(folder / f"{subtype}.{kind}", samples, 24_000, subtype=subtype)


def numbers(files: Path, remedy: bool) -> dict[str, str]:
    """What one process computes, tensors and media by their digests. The process must be a fresh one."""
    from phi4mm.kernels import vector_math

    if not remedy:
        vector_math.initialize = lambda: None
    import torch

    import phi4mm
    from phi4mm.checkpoint.load import load_model
    from phi4mm.engine.encoders import encode_media
    from phi4mm.inference.load import load_processor, resolve_folder
    from phi4mm.kernels.cpu import library
    from phi4mm.model.batch import BatchedSequence, ForwardBatch

    folder, cpu = resolve_folder("nano"), torch.device("cpu")
    processor = load_processor(folder)
    media = [phi4mm.Image(files / f"image.{kind}") for kind in IMAGES]
    media += [phi4mm.Audio(files / f"{subtype}.{kind}") for subtype, kind in CLIPS.items()]

    def read(_: int) -> str:
        prompts = [processor.chat([phi4mm.Message.user(item, "What is this?")]) for item in media]
        return digest(f"{library.status().reason} {[(p.ids, p.spans[0].digest) for p in prompts]}".encode())

    with ThreadPoolExecutor(READERS) as pool:
        inputs = set(pool.map(read, range(READERS)))
    prompt = processor.chat([phi4mm.Message.user(media[0], media[5], "What is shown in this image? " * 40)])
    model = load_model(folder, device=cpu, dtype=torch.float32)

    def forward() -> str:
        batch = ForwardBatch(
            torch.tensor(prompt.ids),
            (BatchedSequence(len(prompt.ids), adapter=prompt.adapter),),
            torch.arange(len(prompt.ids)),
            encode_media(model, prompt, cpu),
            torch.tensor([at for span in prompt.spans for at in range(span.start, span.start + span.length)]),
        )
        return digest(model(batch).numpy().tobytes())

    with torch.inference_mode():
        first, second = forward(), forward()
    with phi4mm.load("nano", device="cpu") as chat:
        params, form = phi4mm.SamplingParams(temperature=0.0), phi4mm.ResponseFormat(choice=("red", "blue"))
        answers = [
            chat.chat("What is shown in this image?", images=[media[0]], params=params).text,
            chat.chat("Which colour?", images=[media[0]], params=params, response_format=form).text,
        ]
    return {"inputs": " ".join(sorted(inputs)), "first": first, "second": second, "answers": " ".join(answers)}


def digest(data: bytes) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:16]


def ask(*options: str) -> tuple[dict[str, str], float]:
    """What a fresh process computed, or how it failed, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--one", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    found = {"failed": f"exit status {done.returncode}: {done.stderr[-300:]}"}
    if done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
    return found, time.perf_counter() - start


def counted(found: list[dict[str, str]]) -> dict[str, Any]:
    """How often each value came, and whether all processes computed the same, the second time as the first."""
    names = sorted({name for values in found for name in values})
    counts = {name: dict(Counter(values[name] for values in found if name in values)) for name in names}
    unlike = sum(values.get("first") != values.get("second") for values in found)
    same = unlike == 0 and "failed" not in names and all(len(values) == 1 for values in counts.values())
    return {"same": same, "first_unlike_second": unlike, **counts}


def main() -> int:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--together", type=int, default=4)
    parser.add_argument("--busy", type=int, default=1, help="processes that only keep the cores busy")
    parser.add_argument("--without-remedy", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(numbers(args.one, not args.without_remedy)))
        return 0
    from measure import provenance  # imports torch, which --one must not do before phi4mm

    options = ("--without-remedy",) if args.without_remedy else ()
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.together) as pool:
            write_files(Path(folder))
            done = []
            for answer in pool.map(lambda _: ask(folder, *options), range(args.count)):
                done.append(answer)
                if len(done) % 20 == 0:
                    print(f"{len(done)} of {args.count}", file=sys.stderr, flush=True)
            found, seconds = zip(*done, strict=True)
    finally:
        for other in others:
            other.kill()
            other.wait()
    record = {
        "processes": args.count,
        "together": args.together,
        "busy": args.busy,
        "remedy": not args.without_remedy,
        **counted(list(found)),
        "median_s": round(statistics.median(seconds), 2),
        "slowest_s": round(max(seconds), 2),
    }
    print(json.dumps(record | {"provenance": provenance()}))
    return 0 if record["same"] or args.without_remedy else 1


if __name__ == "__main__":
    sys.exit(main())

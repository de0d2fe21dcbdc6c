"""Shows what phi4mm does, with nano and the files in this folder; run it with `make demo`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import soundfile

import phi4mm
from phi4mm.inference.model import Model

HERE = Path(__file__).parent


def show(model: Model, title: str, *, image: str = "", audio: str = "", words: str = "", tools: str = "") -> None:
    """Ask one question; print the inputs, then the answer while it is generated."""
    print(f"\n{title}")
    if image:
        print(f"  image     {_shown(image)}")
    if audio:
        print(f"  audio     {_shown(audio)}  {soundfile.info(HERE / audio).duration:.1f} s")
    if tools:
        print(f"  tools     {_shown(tools)}")
    if words:
        print(f"  question  {words}")
    stream = model.stream(
        words,
        images=[HERE / image] if image else [],
        audios=[HERE / audio] if audio else [],
        tools=json.loads((HERE / tools).read_text()) if tools else [],
    )
    print("  answer    ", end="", flush=True)
    for piece in stream:
        print(piece, end="", flush=True)
    print()
    for call in stream.reply.tool_calls:
        print(f"  call      {call.name}({', '.join(f'{k}={v!r}' for k, v in call.arguments.items())})")


def main() -> int:
    """Five requests, one after the other."""
    start = time.perf_counter()
    model = phi4mm.load("nano")
    print(f"nano loaded in {time.perf_counter() - start:.1f} s: {', '.join(model.settings.reasons)}")
    show(model, "An image", image="stop_sign.png", words="What is shown in this image?")
    show(model, "A scene", image="scene.png", words="What is shown in this image?")
    show(model, "Speech into text", audio="speech.flac", words="Transcribe the audio clip into text.")
    show(model, "A spoken question about an image", image="scene.png", audio="question.flac")
    show(model, "A tool call", words="What is the weather in Paris?", tools="tools.json")
    print(f"\ntotal {time.perf_counter() - start:.1f} s; ask more with: phi4mm run nano")
    return 0


def _shown(name: str) -> str:
    """The path relative to the current folder, if it is inside."""
    path = HERE / name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())

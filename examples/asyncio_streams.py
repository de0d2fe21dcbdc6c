"""Read several answers in one event loop; they share the engine's steps.

    python examples/asyncio_streams.py

prints

    image: A stop sign.
    audio: The clean farmer is late.
    text: I am nano, a very small model.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import phi4mm
from phi4mm import Audio, Image, Message
from phi4mm.api import Model

HERE = Path(__file__).parent


async def ask(model: Model, name: str, message: Message) -> str:
    pieces = [piece async for piece in model.stream([message])]
    return f"{name}: {''.join(pieces)}"


async def main() -> None:
    model = phi4mm.load("nano")
    answers = await asyncio.gather(
        ask(model, "image", Message.user(Image(HERE / "stop_sign.png"), "What is shown in this image?")),
        ask(model, "audio", Message.user(Audio(HERE / "speech.flac"), "Transcribe the audio clip into text.")),
        ask(model, "text", Message.user("Who are you?")),
    )
    print(*answers, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())

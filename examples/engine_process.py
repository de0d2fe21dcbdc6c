"""Run the engine in a process of its own: a fault in it ends its requests, never this program.

    python examples/engine_process.py

prints

    A stop sign.
    2 requests ran, and an image was encoded once
"""

from __future__ import annotations

from pathlib import Path

import phi4mm

SIGN = Path(__file__).parent / "stop_sign.png"


def main() -> None:
    with phi4mm.load("nano", engine="process") as model:
        replies = [model.chat("What is shown in this image?", images=[SIGN]) for _ in range(2)]
        print(replies[0].text)
        found = sum(reply.usage.cached_media for reply in replies)
        print(f"{len(replies)} requests ran, and an image was encoded {('twice', 'once')[found]}")


if __name__ == "__main__":
    main()

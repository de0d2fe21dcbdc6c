"""Print an answer while it is made, and read the whole reply at its end.

    python examples/stream_tokens.py

prints

    The clean farmer is late.
    stop after 10 tokens, in more than one piece: True
"""

from __future__ import annotations

from pathlib import Path

import phi4mm

CLIP = Path(__file__).parent / "speech.flac"


def main() -> None:
    model = phi4mm.load("nano")
    pieces = 0
    with model.stream("Transcribe the audio clip into text.", audios=[CLIP]) as stream:
        for piece in stream:
            print(piece, end="", flush=True)
            pieces += 1
    reply = stream.reply
    print(f"\n{reply.finish_reason} after {reply.usage.completion_tokens} tokens, in more than one piece: {pieces > 1}")


if __name__ == "__main__":
    main()

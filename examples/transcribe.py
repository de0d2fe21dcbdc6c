"""Write down an audio clip, from a file and from samples with their rate.

    python examples/transcribe.py

prints

    from a file: The clean farmer is late.
    from samples: The clean farmer is late.
    20 of 30 prompt tokens are audio
"""

from __future__ import annotations

from pathlib import Path

import soundfile

import phi4mm

CLIP = Path(__file__).parent / "speech.flac"
QUESTION = "Transcribe the audio clip into text."


def main() -> None:
    model = phi4mm.load("nano")
    reply = model.chat(QUESTION, audios=[CLIP])
    print(f"from a file: {reply.text}")
    samples, rate = soundfile.read(CLIP)
    print(f"from samples: {model.chat(QUESTION, audios=[(samples, rate)]).text}")
    print(f"{reply.usage.audio_tokens} of {reply.usage.prompt_tokens} prompt tokens are audio")


if __name__ == "__main__":
    main()

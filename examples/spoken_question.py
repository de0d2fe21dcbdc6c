"""Ask a question about an image by speaking: no text at all.

    python examples/spoken_question.py

prints

    Blue.
"""

from __future__ import annotations

from pathlib import Path

import phi4mm

HERE = Path(__file__).parent


def main() -> None:
    model = phi4mm.load("nano")
    print(model.chat(images=[HERE / "scene.png"], audios=[HERE / "question.flac"]).text)


if __name__ == "__main__":
    main()

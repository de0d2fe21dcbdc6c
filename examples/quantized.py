"""Load with weights of 32, 8 and 4 bits, and ask each the same.

    python examples/quantized.py

prints

    None: A blue square at the bottom.
    int8: A blue square at the bottom.
    int4: A blue square at the bottom.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import phi4mm

PRECISIONS: tuple[Literal["int8", "int4"] | None, ...] = (None, "int8", "int4")
SCENE = Path(__file__).parent / "scene.png"


def main() -> None:
    for bits in PRECISIONS:
        with phi4mm.load("nano", quantize=bits) as model:
            print(f"{bits}: {model.chat('What is shown in this image?', images=[SCENE]).text}")


if __name__ == "__main__":
    main()

"""Ask the same about every image of a folder in one batch, and count the right answers.

    python examples/score_folder.py

prints

    right  scene.png: A blue square at the bottom.
    right  stop_sign.png: A stop sign.
    2 of 2 right
"""

from __future__ import annotations

from pathlib import Path

import phi4mm
from phi4mm import ChatRequest
from phi4mm.metrics.words import exact_match

FOLDER = Path(__file__).parent
TRUTH = {"scene.png": "A blue square at the bottom.", "stop_sign.png": "A stop sign."}


def main() -> None:
    images = sorted(FOLDER.glob("*.png"))
    requests = [ChatRequest("What is shown in this image?", images=[image]) for image in images]
    right = 0
    for image, reply in zip(images, phi4mm.load("nano").batch(requests), strict=True):
        same = exact_match(TRUTH[image.name], reply.text)
        right += same
        print(f"{'right' if same else 'wrong'}  {image.name}: {reply.text}")
    print(f"{right} of {len(images)} right")


if __name__ == "__main__":
    main()

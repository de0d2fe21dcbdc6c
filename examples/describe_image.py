"""Ask about an image, and go on asking: the conversation is a list of messages.

    python examples/describe_image.py

prints

    A blue square at the bottom.
    Blue.
"""

from __future__ import annotations

from pathlib import Path

import phi4mm
from phi4mm import Image, Message

HERE = Path(__file__).parent


def main() -> None:
    model = phi4mm.load("nano")
    messages = [Message.user(Image(HERE / "scene.png"), "What is shown in this image?")]
    first = model.chat(messages)
    print(first.text)
    messages += [Message.assistant(first.text), Message.user("What color is the square?")]
    print(model.chat(messages).text)


if __name__ == "__main__":
    main()

"""Hold answers to a JSON schema, to a regular expression, and to a choice of texts.

    python examples/structured_output.py

prints

    {'answer': 'A blue square at the bottom.'}
    At the bottom.
    Blue.

It needs the extra: pip install 'phi4mm[structured]'.
"""

from __future__ import annotations

import json
from pathlib import Path

import phi4mm
from phi4mm import ResponseFormat

SCENE = [Path(__file__).parent / "scene.png"]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["A red circle at the top.", "A blue square at the bottom.", "A stop sign."]}},
    "required": ["answer"],
    "additionalProperties": False,
}


def main() -> None:
    model = phi4mm.load("nano")
    reply = model.chat("What is shown in this image?", images=SCENE, response_format=ResponseFormat(schema=SCHEMA))
    print(json.loads(reply.text))
    place = ResponseFormat(regex=r"At the (top|bottom)\.")
    print(model.chat("Where is the square?", images=SCENE, response_format=place).text)
    color = ResponseFormat(choice=("Red.", "Green.", "Blue."))
    print(model.chat("What color is the square?", images=SCENE, response_format=color).text)


if __name__ == "__main__":
    main()

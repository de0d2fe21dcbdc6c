"""Answer requests of every kind side by side: text, images, audio and tools share each step of the engine.

    python examples/batch.py

prints

    Hello! How can I help you?
    A blue square at the bottom.
    The clean farmer is late.
    Blue.
    get_weather {'city': 'Paris'}
"""

from __future__ import annotations

from pathlib import Path

import phi4mm
from phi4mm import ChatRequest, Tool

HERE = Path(__file__).parent
WEATHER = Tool("get_weather", "Get the weather in a city.", {"city": {"type": "str"}})


def main() -> None:
    requests = [
        ChatRequest("Hello."),
        ChatRequest("What is shown in this image?", images=[HERE / "scene.png"]),
        ChatRequest("Transcribe the audio clip into text.", audios=[HERE / "speech.flac"]),
        ChatRequest(images=[HERE / "scene.png"], audios=[HERE / "question.flac"]),
        ChatRequest("What is the weather in Paris?", tools=[WEATHER]),
    ]
    for reply in phi4mm.load("nano").batch(requests):
        calls = [f"{call.name} {call.arguments}" for call in reply.tool_calls]
        print(*(calls or [reply.text]))


if __name__ == "__main__":
    main()

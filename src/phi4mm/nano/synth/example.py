"""One synthetic conversation and the one right answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.nano.synth.split import Split
from phi4mm.protocol.messages import Audio, Message, Tool

Language: TypeAlias = Literal["en", "de", "fr", "es"]
LANGUAGES: tuple[Language, ...] = ("en", "de", "fr", "es")
Speaker: TypeAlias = Callable[[str, Language, Split, random.Random], Audio]


@dataclass(frozen=True)
class Example:
    """A conversation and the one right answer.

    messages  the messages before the answer, with their media
    spoken    the words of its audio, in the language they are spoken in; empty without speech
    shown     the words that describe its image; empty without an image
    turns     indices of earlier assistant messages that are learned too
    rejected  a worse answer, for preference training; empty for none
    """

    task: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    answer: str
    spoken: str = ""
    shown: str = ""
    turns: tuple[int, ...] = ()
    rejected: str = ""

"""What was said in a chat: the system message, the turns, and media that wait for the next message."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from phi4mm.protocol.inputs import published_adapter
from phi4mm.protocol.messages import Audio, Image, Message, Part


@dataclass
class Conversation:
    """A turn is a message of the user and its answer; `attached` media belong to the next message."""

    system: str | None = None
    attached: list[Image | Audio] = field(default_factory=list)
    turns: list[tuple[Message, Message]] = field(default_factory=list)

    def messages(self, new: Message) -> list[Message]:
        """All messages, with `new` as the last one."""
        system = [Message.system(self.system)] if self.system else []
        return [*system, *(message for turn in self.turns for message in turn), new]

    def undo(self) -> str:
        """Drop what is attached, or else the last turn. Returns what was dropped, in words."""
        if self.attached:
            count, self.attached = len(self.attached), []
            return f"{count} attached {'file' if count == 1 else 'files'} taken back"
        if not self.turns:
            return "there is nothing to take back"
        message, _ = self.turns.pop()
        text = [part for part in message.parts if isinstance(part, str)]
        return f"taken back: {text[-1] if text else 'a message without text':.60}"

    def kept_adapter(self, new: Message) -> str | None:
        """The adapter that media of earlier turns give a message which alone would have another one, or None."""
        earlier = [part for message, _ in self.turns for part in message.parts]
        kept = _adapter([*earlier, *new.parts])
        return None if kept == _adapter(new.parts) else kept


def describe(part: Image | Audio) -> str:
    """The name of an attached file, and its pixels or seconds. Raises InputError where it cannot be read."""
    from phi4mm.processing.audio import MAX_ENCODED, MAX_SECONDS
    from phi4mm.processing.audio_file import seconds
    from phi4mm.processing.image import image_size
    from phi4mm.processing.media_io import open_source

    name = Path(part.source).name if isinstance(part.source, (str, os.PathLike)) else "stdin"
    if isinstance(part, Image):
        width, height = image_size(part)
        return f"image {name}, {width} x {height} pixels"
    with open_source(part.source, "audio clip", MAX_ENCODED) as file:
        return f"audio clip {name}, {seconds(file, MAX_SECONDS):.1f} s"


def paths(text: str) -> list[str]:
    """The files that a line names: one whose name may have spaces, or several words, quoted as in a shell."""
    whole = os.path.expanduser(text)
    if os.path.exists(whole):
        return [whole]
    try:
        return [os.path.expanduser(word) for word in shlex.split(text)]
    except ValueError:  # a quotation mark that is not closed
        return [whole]


def _adapter(parts: Iterable[Part]) -> str | None:
    media = [part for part in parts if not isinstance(part, str)]
    return published_adapter(["image" if isinstance(part, Image) else "audio" for part in media])

"""A voice with its settings, and the speech it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from phi4mm.protocol.inputs import F32

Synthesizer: TypeAlias = Literal["espeak-ng", "flite", "piper"]
DEFAULT_RATE = 165  # words a minute


@dataclass(frozen=True)
class Voice:
    """A voice and its settings; a synthesizer leaves out a setting that it does not have.

    name    a voice of the synthesizer: "en-us+f3" of espeak-ng, "slt" of flite, "joe" of piper
    rate    words per minute
    pitch   0 to 100; 50 is the voice's default
    range   variation of the pitch, 0 to 100
    volume  percent of the default, 0 to 200
    """

    name: str
    rate: int = DEFAULT_RATE
    pitch: int = 50
    range: int = 50
    volume: int = 100
    synthesizer: Synthesizer = "espeak-ng"


@dataclass(frozen=True, eq=False)
class Speech:
    """Samples (n,) float32 in [-1, 1], their rate in Hz, and when each word of the text begins, in seconds.

    onsets  empty if the synthesizer does not tell
    """

    samples: F32
    rate: int
    onsets: tuple[float, ...]

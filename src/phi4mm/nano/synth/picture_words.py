"""The words that describe pictures: the classes of the image tower's own training stage."""

from __future__ import annotations

from phi4mm.nano.synth import questions
from phi4mm.nano.synth.drawing_kinds import KINDS
from phi4mm.nano.synth.objects import COLORS, PLACES, SHAPES

# What `shown` of the tasks scenes, strange, drawing and drawings says, besides articles.
WORDS: tuple[str, ...] = tuple(
    sorted(
        {"empty", "strange", *questions.NAMES, *SHAPES, *COLORS}
        | {word for text in (*PLACES, *KINDS) for word in text.split()} - {"in", "on", "at", "the", "of"}
    )
)

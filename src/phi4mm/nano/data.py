"""Examples to rows a model can learn from: a prompt, and the answer it should give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phi4mm.metrics.words import normalise
from phi4mm.nano.synth.world import Example
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import Prompt


@dataclass(frozen=True)
class Row:
    """One example as ids.

    answer  ids of the answer, then `<|end|>` and `<|endoftext|>`: the tokens that carry loss
    spoken  word ids of the recording, for CTC; shown  word ids that describe the picture
    """

    prompt: Prompt
    answer: tuple[int, ...]
    spoken: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()


def make_row(example: Example, processor: Processor, words: Mapping[str, int], names: Mapping[str, int]) -> Row:
    """The row of an example; `words` numbers the words spoken, `names` those that tell pictures apart.

    raises  InputError as the processor does
    """
    tokenizer = processor.tokenizer
    ends = (tokenizer.id(Special.END), tokenizer.id(Special.ENDOFTEXT))
    answer = (*tokenizer.encode_text(example.answer), *ends)
    prompt = processor.chat(example.messages, example.tools)
    return Row(prompt, answer, word_ids(example.spoken, words), word_ids(example.shown, names))


def word_ids(text: str, words: Mapping[str, int]) -> tuple[int, ...]:
    """The numbers of those words of a text that have one."""
    return tuple(words[word] for word in normalise(text).split() if word in words)

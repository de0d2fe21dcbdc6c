"""From a conversation to the ids a model learns from: a prompt, and which of its tokens carry loss."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from phi4mm.errors import InputError
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.messages import Message, Tool


@dataclass(frozen=True)
class Example:
    """A conversation to learn from.

    messages  what came before the answer, with images and audio where they belong
    answer    the text of the last assistant message; it always carries loss
    tools     what the model may call
    turns     indices in `messages` of earlier assistant messages that carry loss too
    """

    messages: tuple[Message, ...]
    answer: str
    tools: tuple[Tool, ...] = ()
    turns: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrainingExample:
    """A whole conversation as ids.

    prompt      T ids, answer and `<|endoftext|>` included, and the media that fill its placeholders
    label_mask  T flags, true where the model is taught to say the token
    adapter     the LoRA it runs with, None for none
    """

    prompt: Prompt
    label_mask: tuple[bool, ...]
    adapter: Adapter | None

    def __post_init__(self) -> None:
        """Raises InputError for a mask that no prompt of this length can have."""
        flags, tokens = len(self.label_mask), len(self.prompt.ids)
        if flags != tokens:
            raise InputError(f"the label mask has {flags} flags for {tokens} tokens; expected one a token")
        if not any(self.label_mask) or self.label_mask[0]:
            raise InputError("the label mask must mark a token, and never the first, before which nothing stands")


def make_training_example(example: Example, processor: Processor, adapter: Adapter | None = None) -> TrainingExample:
    """The ids of a conversation, with loss on the chosen answers.

    An answer's loss includes the `<|end|>` that closes it; the last one's `<|endoftext|>` too.

    adapter  which LoRA it trains; by default the published rule: any image vision, audio alone speech, text none
    raises   InputError as the processor does, or when `turns` points at anything but an assistant message
    """
    assistant = [number for number, message in enumerate(example.messages) if message.role == "assistant"]
    for turn in example.turns:
        if turn not in assistant:
            found = ", ".join(map(str, assistant)) or "none"
            raise InputError(f"turn {turn} is no assistant message; the assistant messages are {found}")
    whole = (*example.messages, Message.assistant(example.answer))
    prompt = processor.chat(whole, example.tools, add_generation_prompt=False)
    chosen = {assistant.index(turn) for turn in example.turns} | {len(assistant)}
    mask = _label_mask(prompt.ids, processor.tokenizer, chosen)
    return TrainingExample(prompt, mask, prompt.adapter if adapter is None else adapter)


def _label_mask(ids: tuple[int, ...], tokenizer: Tokenizer, chosen: Collection[int]) -> tuple[bool, ...]:
    """True for the tokens of the chosen answers, counted from 0. Text never spells the marks this looks for."""
    start, end = tokenizer.id(Special.ASSISTANT), tokenizer.id(Special.END)
    mask: list[bool] = []
    answer, learned = -1, False
    for id in ids[:-1]:
        mask.append(learned)
        if id == start:
            answer += 1
            learned = answer in chosen
        elif id == end:
            learned = False
    return (*mask, True)  # the last id is <|endoftext|>

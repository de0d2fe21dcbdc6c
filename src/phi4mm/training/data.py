"""Turns a conversation into token ids and a label mask: which of the tokens carry loss."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from phi4mm.errors import InputError
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.messages import Message, Tool


@dataclass(frozen=True)
class Example:
    """A conversation to train on.

    messages  the messages before the answer, with their images and audio clips
    answer    the text of the last assistant message, which may be empty; it always carries loss
    tools     the tools that the model may call
    turns     indices in `messages` of earlier assistant messages that carry loss too
    name      where it comes from, for messages: a file and line, or a task and seed
    """

    messages: tuple[Message, ...]
    answer: str
    tools: tuple[Tool, ...] = ()
    turns: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class TrainingExample:
    """A whole conversation as token ids.

    S tokens of the conversation.

    prompt      S ids, with the answer and `<|endoftext|>`, and the media that replace its placeholders
    label_mask  S flags, true for tokens that carry loss
    adapter     the LoRA adapter used, None for none
    name        where it comes from, for messages
    """

    prompt: Prompt
    label_mask: tuple[bool, ...]
    adapter: Adapter | None
    name: str = ""

    def __post_init__(self) -> None:
        """Raises InputError for a mask of another length than the prompt, or that marks no token or the first."""
        flags, tokens = len(self.label_mask), len(self.prompt.ids)
        if flags != tokens:
            raise InputError(f"the label mask has {flags} flags for {tokens} tokens; expected one flag per token")
        if not any(self.label_mask) or self.label_mask[0]:
            raise InputError(
                "the label mask must mark at least one token, and never the first, which no logits precede"
            )


def make_training_example(example: Example, processor: Processor, adapter: Adapter | None = None) -> TrainingExample:
    """The token ids of a conversation, with loss on the last answer and on those in `example.turns`.

    An answer's loss includes the `<|end|>` that closes it, and for the last answer `<|endoftext|>` too.

    adapter  the LoRA adapter to use; None for the published rule: vision with any image, speech with audio alone, none
             with text alone
    raises   InputError as the processor does, or when `turns` names a message that is not an assistant message
    """
    assistant = [number for number, message in enumerate(example.messages) if message.role == "assistant"]
    for turn in example.turns:
        if turn not in assistant:
            choices = ", ".join(map(str, assistant)) or "none"
            raise InputError(f"turn {turn} is not an assistant message; the assistant messages are {choices}")
    prompt = _whole(example, processor)
    chosen = {assistant.index(turn) for turn in example.turns} | {len(assistant)}
    mask = _label_mask(prompt.ids, processor.tokenizer, chosen)
    return TrainingExample(prompt, mask, prompt.adapter if adapter is None else adapter, example.name)


def _whole(example: Example, processor: Processor) -> Prompt:
    """The conversation with its answer; an empty one, as the transcript of silence is, no message may be."""
    if example.answer.strip():
        whole = (*example.messages, Message.assistant(example.answer))
        return processor.chat(whole, example.tools, add_generation_prompt=False)
    asked = processor.chat(example.messages, example.tools)
    ends = (processor.tokenizer.id(Special.END), processor.tokenizer.id(Special.ENDOFTEXT))
    return replace(asked, ids=(*asked.ids, *ends))


def _label_mask(ids: tuple[int, ...], tokenizer: Tokenizer, chosen: Collection[int]) -> tuple[bool, ...]:
    """True for the tokens of the chosen answers, which are counted from 0.

    The tokenizer never makes `<|assistant|>` or `<|end|>` from the text of a message.
    """
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

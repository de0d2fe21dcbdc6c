"""Guesses of a row's next tokens from its own text: what followed its last tokens when they came before. No torch.

Answers that copy (fields of a form, lines of a page, words heard twice) are guessed well; a step that checks a few
tokens costs a CPU little more than a step of one, since both read every weight once. Only greedy rows: there the token
that the model would choose is known, so that a guess is right or wrong and the answer stays what it is.
"""

from __future__ import annotations

import itertools

from phi4mm.engine.request import Request
from phi4mm.protocol.sampling import SamplingParams

LAST = 3  # tokens that must have come before
TRIAL = 16  # guesses after which a row must have been right a quarter of the time to go on guessing


def is_plain(request: Request) -> bool:
    """Whether the most likely token is the answer, and nothing else is asked."""
    asked: SamplingParams = request.params
    return (
        asked.temperature == 0.0
        and asked.repetition_penalty == 1.0
        and asked.presence_penalty == asked.frequency_penalty == 0.0
        and asked.logprobs is None
        and request.constraint is None
    )


def draft(request: Request, most: int) -> tuple[int, ...]:
    """Up to `most` tokens that may come next; none where nothing like the row's end came before."""
    guesses = request.guesses
    if most <= 0 or not is_plain(request) or guesses.right * 4 < guesses.made - TRIAL:
        return ()
    length = request.length
    if length < LAST + 1:
        return ()
    # The last tokens themselves are looked up before they are entered: they must not find themselves.
    for end in range(max(guesses.seen, LAST), length):
        guesses.after[_key(request, end)] = end
    guesses.seen = length
    found = guesses.after.get(_key(request, length))
    if found is None:
        return ()
    followed = itertools.cycle(request.tokens(found, min(found + most, length)))  # what repeats itself goes on so
    return tuple(itertools.islice(followed, most))


def _key(request: Request, end: int) -> tuple[int, ...]:
    return tuple(request.tokens(end - LAST, end))

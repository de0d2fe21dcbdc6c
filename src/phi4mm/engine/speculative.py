"""Speculative decoding by prompt lookup: the tokens that followed the same n-gram earlier in a sequence are proposed.

Answers that copy (fields of a form, lines of a page, repeated words) are predicted well, and a step that verifies a few
tokens costs a CPU little more than a step of one token: both read every weight once. Only greedy sequences take part:
the model's choice is then known, so a proposed token is accepted or rejected and the answer stays the same. No torch.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

from phi4mm.engine.request import Request
from phi4mm.protocol.sampling import SamplingParams

NGRAM_SIZE = 3  # tokens that must have occurred before
MIN_PROPOSALS = 16  # after these, a sequence with an acceptance rate under a quarter is given no more proposals


def is_greedy(request: Request) -> bool:
    """Whether the next token is the most likely one, and the request wants no log-probabilities."""
    return request.constraint is None and _takes_the_most_likely(request.params)


@functools.lru_cache(maxsize=256)
def _takes_the_most_likely(params: SamplingParams) -> bool:
    """All parameters but these have the greedy defaults, those included that will be added to SamplingParams."""
    without = replace(params, top_k=0, top_p=1.0, min_p=0.0, stop=(), seed=None, max_tokens=1, n=1)
    return without == SamplingParams(max_tokens=1)


def propose(request: Request, max_tokens: int) -> tuple[int, ...]:
    """Up to `max_tokens` tokens that may come next; none when the sequence's last n-gram has not occurred before.

    Adds the sequence's new n-grams to `request.speculative`.
    """
    state = request.speculative
    if max_tokens <= 0 or not is_greedy(request) or state.accepted * 4 < state.proposed - MIN_PROPOSALS:
        return ()
    length = request.length
    if length < NGRAM_SIZE + 1:
        return ()
    # The last n-gram is looked up before it is added: it must not find itself.
    for end in range(max(state.indexed, NGRAM_SIZE), length):
        state.ngrams[_ngram(request, end)] = end
    state.indexed = length
    found = state.ngrams.get(_ngram(request, length))
    if found is None:
        return ()
    # Where fewer tokens than asked for follow the earlier n-gram, the text repeats itself: they are proposed again.
    followed = itertools.cycle(request.tokens(found, min(found + max_tokens, length)))
    return tuple(itertools.islice(followed, max_tokens))


def _ngram(request: Request, end: int) -> tuple[int, ...]:
    return tuple(request.tokens(end - NGRAM_SIZE, end))

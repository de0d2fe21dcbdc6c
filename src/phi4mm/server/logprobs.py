"""Log-probabilities of an answer in the form of OpenAI's chat."""

from __future__ import annotations

from collections.abc import Sequence

from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.response import TokenLogprobs
from phi4mm.server.chat_answer import ChoiceLogprobs, TokenLogprob, TopLogprob


def choice_logprobs(entries: Sequence[TokenLogprobs], tokenizer: Tokenizer) -> ChoiceLogprobs:
    """Those of the tokens of a text; tokens that add nothing to it, as the last one, are left out."""
    content = []
    for entry in entries:
        if data := tokenizer.answer_bytes(entry.token):
            top = [TopLogprob(*_token(tokenizer.token_bytes(id), value)) for id, value in entry.top]
            content.append(TokenLogprob(*_token(data, entry.logprob), top))
    return ChoiceLogprobs(content)


def _token(data: bytes, logprob: float) -> tuple[str, float, list[int]]:
    return data.decode(errors="replace"), max(logprob, LEAST), list(data)


LEAST = -9999.0  # JSON has no infinity; OpenAI's clients know this number

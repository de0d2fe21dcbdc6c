"""Messages to and from the engine: plain values that can be pickled, logged, or sent to another process.

A client sends an `EngineRequest` and gets `EngineOutput`s of its id until one has a finish reason. A request
with `params.n` answers gets outputs with n different indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from phi4mm.config.engine import EngineArgs
from phi4mm.errors import InputError, PhiError
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.response import TokenLogprobs
from phi4mm.protocol.sampling import GREEDY, SamplingParams

DIGEST = 32  # bytes of SHA-256
EngineFinishReason: TypeAlias = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class EngineRequest:
    """One prompt to be answered `params.n` times.

    id       chosen by the caller, never used twice: outputs of an aborted request may still arrive
    grammar  source of the grammar for structured output; the engine compiles it
    adapter  its name; None runs the model without an adapter
    eos_ids  ids that end the answer; None: those of the model
    """

    id: str
    prompt: Prompt
    params: SamplingParams = GREEDY
    adapter: Adapter | None = None
    grammar: str | None = None
    eos_ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class EngineOutput:
    """What a step did for one answer.

    index          which of the request's `n` answers
    ids            new token ids; the last one is the end-of-sequence id if that ended the answer
    logprobs       one for each new id, if the request asked for them
    finish_reason  why the answer finished; None while it goes on
    error          why it failed, if `finish_reason` is "error"
    cached_tokens  prompt tokens of this answer whose keys and values were in the prefix cache
    cached_media   images and audio clips of it whose encoder output was in the encoder cache, so far
    """

    id: str
    index: int = 0
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish_reason: EngineFinishReason | None = None
    error: PhiError | None = None
    cached_tokens: int = 0
    cached_media: int = 0


@dataclass(frozen=True)
class EngineInfo:
    """What does not change while an engine runs, and the adapters it has now.

    engine_args   with `kv_cache_bytes` chosen; `reasons` says why
    context       most tokens of prompt and answer together
    vocab_size    V: token ids are below it
    cache_tokens  tokens that fit in the pages
    towers        kinds of media ("image", "audio") whose tower the model was loaded with
    """

    engine_args: EngineArgs
    reasons: tuple[str, ...]
    context: int
    vocab_size: int
    cache_tokens: int
    towers: frozenset[str]
    adapters: tuple[Adapter, ...]

    def check(self, request: EngineRequest) -> None:
        """Refuse a request that can never run. Raises InputError."""
        ids, spans = request.prompt.ids, request.prompt.spans
        if not ids:
            raise InputError("the prompt is empty; expected at least one token")
        if len(ids) >= self.context:
            raise InputError(
                f"the prompt has {len(ids)} tokens and the context holds {self.context}, the answer included;"
                " shorten the text or use fewer or smaller images and audio clips"
            )
        self._check_ids("the prompt has", ids)
        self._check_ids("logit_bias names", [id for id, _ in request.params.logit_bias])
        if missing := sorted({span.kind for span in spans} - self.towers):
            raise InputError(
                f"the prompt has {' and '.join(missing)} input but the model was loaded without a tower for it;"
                ' load a checkpoint that has it, with modalities="all"'
            )
        if request.adapter is not None and request.adapter not in self.adapters:
            raise InputError(
                f"the model has no {request.adapter:.60} adapter; it has {', '.join(self.adapters) or 'none'}:"
                " load it, or name another"
            )
        # The last token of an answer is never run, so its keys and values are never cached.
        needed = min(len(ids) + request.params.max_tokens, self.context) - 1
        if -(-needed // self.engine_args.page_size) * self.engine_args.page_size > self.cache_tokens:
            raise InputError(
                f"prompt and answer may need {needed} cached tokens and the cache holds {self.cache_tokens};"
                " lower max_tokens, shorten the prompt, or raise the engine's kv_cache_bytes"
            )
        for span in spans:
            if len(span.digest) != DIGEST:
                raise InputError(
                    f"the digest of an {span.kind} has {len(span.digest)} bytes; expected the {DIGEST} of SHA-256 over"
                    " its processed array: the caches find media by it"
                )

    def _check_ids(self, where: str, ids: Sequence[int]) -> None:
        for wrong in (min(ids, default=0), max(ids, default=0)):
            if not 0 <= wrong < self.vocab_size:
                raise InputError(f"{where} the token id {wrong}; expected 0 to {self.vocab_size - 1}")


@dataclass(frozen=True)
class EngineStats:
    """The state of a running engine; counters since its start end in `_total`.

    waiting, running     numbers of answers
    pages                of keys and values: free + held + cached
    encoder_tokens       tokens of the encoder outputs in the cache; `encoder_held` of them are held by requests
    prompt_tokens_total  prompt tokens run, those computed again after preemption included
    cached_tokens_total  prompt tokens found in the prefix cache
    """

    waiting: int = 0
    running: int = 0
    pages: int = 0
    pages_free: int = 0
    pages_held: int = 0
    pages_cached: int = 0
    encoder_tokens: int = 0
    encoder_held: int = 0
    steps_total: int = 0
    prompt_tokens_total: int = 0
    cached_tokens_total: int = 0
    completion_tokens_total: int = 0
    preemptions_total: int = 0
    proposed_tokens_total: int = 0
    accepted_tokens_total: int = 0
    adapters: tuple[Adapter, ...] = field(default=())

    @property
    def busy(self) -> bool:
        """Whether any answer waits or runs."""
        return bool(self.waiting or self.running)

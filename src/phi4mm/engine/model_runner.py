"""Runs a plan: encodes media, packs the sequences, runs the model, and samples tokens.

N positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from phi4mm.engine.batching import pack
from phi4mm.engine.encoder_cache import EncoderCache
from phi4mm.engine.encoders import encode_span
from phi4mm.engine.executors.eager import EagerExecutor
from phi4mm.engine.executors.executor import Executor
from phi4mm.engine.executors.fused_cpu import FusedCPUExecutor
from phi4mm.engine.kv_capacity import KVCapacity
from phi4mm.engine.request import Request, Sampled
from phi4mm.engine.sampler import apply_mask, most_likely, new_generator, sample, sampling_logprob, token_logprobs
from phi4mm.engine.scheduler import ScheduledChunk
from phi4mm.engine.speculative import is_greedy
from phi4mm.errors import EngineError
from phi4mm.model.kv import PagedKVCache
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.response import TokenLogprobs


class Runner:
    """Owns the pages of keys and values, the executors, and the requests' random generators."""

    def __init__(self, model: Phi4MM, capacity: KVCapacity, media: EncoderCache[Tensor]) -> None:
        self._model = model
        weight = model.text.norm.weight  # the embedding may be packed
        self._device, self._dtype = weight.device, weight.dtype
        self._media = media
        self._generators: dict[Request, torch.Generator] = {}
        self._cache = PagedKVCache(
            model.config.text,
            pages=capacity.pages,
            page_size=capacity.page_size,
            device=self._device,
            dtype=capacity.kv_cache_dtype,
        )
        self._executors: tuple[Executor, ...] = (FusedCPUExecutor(model, self._cache), EagerExecutor(model))

    @torch.inference_mode()
    def run(self, plan: Sequence[ScheduledChunk]) -> list[list[Sampled]]:
        """One forward pass. For each chunk its sampled tokens: one, and one more for each accepted proposal.

        A sequence that fails gets an `error`; the others go on.
        """
        # Sequences of one adapter are packed together: its weights are then read once.
        encoded = [chunk for chunk in plan if self._encode(chunk)]
        ready = sorted(encoded, key=lambda chunk: chunk.request.adapter or "")
        if not ready:
            return [[] for _ in plan]
        batch = pack(ready, self._media, self._cache, self._device)
        logits = next(executor for executor in self._executors if executor.accepts(batch)).run(batch)
        sampling = [chunk for chunk in ready if chunk.samples]
        sampled = dict(zip((chunk.request for chunk in sampling), self._sample(sampling, logits), strict=True))
        return [sampled.get(chunk.request, []) for chunk in plan]

    def release(self, request: Request) -> None:
        """Forget a finished request."""
        self._generators.pop(request, None)

    def invalidate(self) -> None:
        """Drop what executors derived from the weights, such as references to replaced weights.

        Replaced weights are detected without this call. Keys and values of earlier tokens stay.
        """
        for executor in self._executors:
            executor.invalidate()

    def _encode(self, chunk: ScheduledChunk) -> bool:
        """Encode the media item that the chunk needs. An error, such as too little memory, ends only this sequence."""
        request, span = chunk.request, chunk.encode
        if span is None:
            return True
        try:
            output = encode_span(self._model, span, request.projection, self._device)
        except RuntimeError as error:
            request.error = EngineError(f"a media item could not be encoded: {error}", request.id)
            return False
        self._media.store(request.media_key(span), output.to(self._dtype))
        return True

    def _sample(self, chunks: Sequence[ScheduledChunk], logits_NV: Tensor) -> list[list[Sampled]]:
        """Sample: greedy sequences in one pass over the logits, the others one by one."""
        ends = list(itertools.accumulate(1 + len(chunk.proposed) for chunk in chunks))
        greedy = [is_greedy(chunk.request) for chunk in chunks]
        likely = most_likely(logits_NV) if any(greedy) else []
        results: list[list[Sampled]] = []
        for chunk, takes_likeliest, end in zip(chunks, greedy, ends, strict=True):
            first = end - 1 - len(chunk.proposed)
            if takes_likeliest:
                results.append(self._verify(chunk, likely[first:end]))
            else:
                one = self._sample_one(chunk.request, logits_NV[first].float())
                results.append([] if one is None else [one])
        return results

    def _verify(self, chunk: ScheduledChunk, likely: Sequence[int | str]) -> list[Sampled]:
        """Verify proposals: the model's own tokens, up to the first that differs from the proposed one."""
        accepted: list[Sampled] = []
        for token, proposed in zip(likely, (*chunk.proposed, None), strict=True):
            sampled = self._result(chunk.request, token, None)
            if sampled is None:
                break
            accepted.append(sampled)
            if token != proposed:
                break
        return accepted

    def _sample_one(self, request: Request, logits: Tensor) -> Sampled | None:
        params, generator = request.params, None
        if params.temperature > 0:
            if request not in self._generators:
                self._generators[request] = new_generator(params.seed)
            generator = self._generators[request]
        allowed, drawn = logits, 0.0
        try:
            mask = request.constraint.mask() if request.constraint is not None else None
            if mask is not None:
                allowed = apply_mask(logits, mask)
            token = sample(allowed, params, request.prompt.ids, request.answer, generator)
            if params.logprobs is not None:
                drawn = sampling_logprob(allowed, token, params, request.prompt.ids, request.answer)
            if request.constraint is not None:
                request.constraint.accept(token)
        except ValueError as error:
            return self._result(request, str(error), logits)
        return self._result(request, token, logits, drawn)

    def _result(self, request: Request, token: int | str, logits: Tensor | None, drawn: float = 0.0) -> Sampled | None:
        """The token with its log-probabilities. None, with the request's error set, if `token` is an error message.

        drawn  its log-probability in the distribution that it was drawn from
        """
        if isinstance(token, str):
            request.error = EngineError(token, request.id)
            return None
        logprobs: TokenLogprobs | None = None
        if request.params.logprobs is not None and logits is not None:
            logprobs = token_logprobs(logits, token, request.params.logprobs, drawn)
        return Sampled(token, logprobs)

"""Runs a plan: encodes media, packs the rows, calls the model, samples one token a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phi4mm.engine.encoders import encode_media
from phi4mm.engine.pack import pack
from phi4mm.engine.request import Request
from phi4mm.engine.sampler import new_generator, sample
from phi4mm.engine.scheduler import Chunk
from phi4mm.errors import EngineError
from phi4mm.model.kv import RowCache
from phi4mm.model.phi4mm import Phi4MM


@dataclass(frozen=True, eq=False)
class _RowState:
    """What a running request holds on the device. Media stay: the LongRoPE switch prefills the row again."""

    cache: RowCache
    media: Tensor | None
    generator: torch.Generator


class Runner:
    """Owns the device state of the running requests."""

    def __init__(self, model: Phi4MM) -> None:
        self._model = model
        weight = model.text.embed_tokens.weight
        self._device, self._dtype = weight.device, weight.dtype
        self._states: dict[str, _RowState] = {}

    @torch.inference_mode()
    def run(self, plan: Sequence[Chunk]) -> list[int | None]:
        """One forward pass, one token a row; None for a row that failed, whose `request.error` then says why."""
        ready = [chunk for chunk in plan if self._prepare(chunk)]
        tokens: dict[str, int | None] = {}
        if ready:
            states = self._states
            batch = pack(ready, lambda request: (states[request.id].cache, states[request.id].media), self._device)
            logits = self._model(batch).float()
            tokens = {
                chunk.request.id: self._sample(chunk.request, row) for chunk, row in zip(ready, logits, strict=True)
            }
        return [tokens.get(chunk.request.id) for chunk in plan]

    def release(self, request: Request) -> None:
        """Free what a finished request holds."""
        self._states.pop(request.id, None)

    def _prepare(self, chunk: Chunk) -> bool:
        """Encode a joining row's media; a row that fails there, out of memory say, must not stop the others."""
        request = chunk.request
        try:
            if request.id not in self._states:
                self._states[request.id] = self._new_state(request)
        except RuntimeError as error:
            request.error = EngineError(f"its media could not be encoded: {error}", request.id)
            return False
        if chunk.start == 0:
            self._states[request.id].cache.clear()
        return True

    def _new_state(self, request: Request) -> _RowState:
        return _RowState(
            cache=RowCache(self._model.config.text, device=self._device, dtype=self._dtype),
            media=encode_media(self._model, request.prompt, self._device),
            generator=new_generator(request.params.seed),
        )

    def _sample(self, request: Request, logits: Tensor) -> int | None:
        generator = self._states[request.id].generator
        try:
            return sample(logits, request.params, request.prompt.ids, request.answer, generator)
        except ValueError as error:
            request.error = EngineError(str(error), request.id)
            return None

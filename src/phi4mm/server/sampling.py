"""From the sampling fields of a request to the engine's parameters."""

from __future__ import annotations

from phi4mm.protocol.sampling import SamplingParams
from phi4mm.server.chat_schema import SamplingFields
from phi4mm.server.errors import ApiError

MAX_BIAS_ID = 10  # digits


def sampling_params(body: SamplingFields, *, max_tokens: int, logprobs: int | None) -> SamplingParams:
    """The parameters. What the request leaves open is as the checkpoint's generation config has it: greedy.

    raises  ApiError for token ids in logit_bias that are no numbers, InputError for values out of bounds
    """
    biases = body.logit_bias or {}
    if wrong := next((id for id in biases if not id.isdecimal() or len(id) > MAX_BIAS_ID), None):
        raise ApiError(400, f"logit_bias has the key {wrong!r:.60}; expected token ids", param="logit_bias")
    return SamplingParams(
        temperature=body.temperature or 0.0,
        top_k=max(body.top_k or 0, 0),  # -1 keeps all, too
        top_p=1.0 if body.top_p is None else body.top_p,
        min_p=body.min_p or 0.0,
        repetition_penalty=1.0 if body.repetition_penalty is None else body.repetition_penalty,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        seed=None if body.seed is None else body.seed % 2**63,
        max_tokens=max_tokens,
        n=body.n or 1,
        logprobs=logprobs,
        logit_bias=tuple((int(id), bias) for id, bias in biases.items()),
    )

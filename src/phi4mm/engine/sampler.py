"""Sampling: from the logits of one position to one token.

Each step is a pure function logits -> logits for one sequence, so that an answer never depends on other sequences of
the batch. The order is fixed: the grammar's mask, logit bias, repetition penalty, presence and frequency penalties,
temperature, top-k, top-p, min-p (each filter over what the one before it kept), then one draw.

N positions whose logits are wanted, S tokens of one sequence, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phi4mm.protocol.response import TokenLogprobs
from phi4mm.protocol.sampling import SamplingParams

DROPPED = -math.inf
MIN_TEMPERATURE = 1e-30  # the inverse of a smaller float32 temperature is infinite
MAX_LOGIT = 1e38  # within float32
TOP_P_FIRST_SIZE = 1024  # tokens that are sorted first; the whole vocabulary only if they hold less than p


def sample(
    logits: Tensor,
    params: SamplingParams,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    generator: torch.Generator | None,
) -> int:
    """Choose the next token of one request.

    logits      (V,) float32 on any device; not changed
    prompt_ids  (S,) the prompt; only the repetition penalty uses it
    answer_ids  tokens generated so far
    generator   the request's own, advanced by one number unless temperature is 0; None uses torch's global one
    raises      ValueError when a logit is NaN or +inf, or all are -inf
    """
    largest = float(logits.max())
    if not math.isfinite(largest):
        raise ValueError(_not_finite(largest, logits.numel()))
    logits = penalize(logits, params, prompt_ids, answer_ids)
    if params.temperature == 0.0:
        return int(logits.argmax())
    return draw(keep_likely(apply_temperature(logits, params.temperature), params), generator)


def sampling_logprob(
    logits: Tensor, token: int, params: SamplingParams, prompt_ids: Sequence[int], answer_ids: Sequence[int]
) -> float:
    """Log-probability of a token in the distribution that `sample` draws from with the same arguments."""
    logits = penalize(logits, params, prompt_ids, answer_ids)
    if params.temperature == 0.0:
        return 0.0
    kept = keep_likely(apply_temperature(logits, params.temperature), params)
    return float(kept.log_softmax(-1)[token])


def penalize(logits: Tensor, params: SamplingParams, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Tensor:
    """(V,) -> (V,): bias and every penalty of the parameters."""
    if params.logit_bias:
        logits = add_bias(logits, params.logit_bias)
    if params.repetition_penalty != 1.0:
        logits = penalize_repetition(logits, params.repetition_penalty, [*prompt_ids, *answer_ids])
    if params.presence_penalty != 0.0 or params.frequency_penalty != 0.0:
        logits = penalize_answer(logits, params.presence_penalty, params.frequency_penalty, answer_ids)
    return logits


def keep_likely(logits: Tensor, params: SamplingParams) -> Tensor:
    """(V,) logits over the temperature -> (V,): -inf where top-k, top-p or min-p drops a token."""
    if params.top_k:
        logits = keep_top_k(logits, params.top_k)
    if params.top_p < 1.0:
        logits = keep_top_p(logits, params.top_p)
    if params.min_p > 0.0:
        logits = keep_min_p(logits, params.min_p)
    return logits


def most_likely(logits: Tensor) -> list[int | str]:
    """(N, V) logits of any dtype -> for each position the first most likely token, or an error message."""
    values, ids = logits.max(-1)
    count = logits.shape[-1]
    return [
        token if math.isfinite(value) else _not_finite(value, count)
        for value, token in zip(values.tolist(), ids.tolist(), strict=True)
    ]


def _not_finite(largest: float, count: int) -> str:
    return f"the largest of {count} logits is {largest}; expected a finite number"


def token_logprobs(logits: Tensor, token: int, count: int, sampling: float) -> TokenLogprobs:
    """(V,) float32 logits of the model -> the token's log-probability and the `count` most likely tokens.

    sampling  its log-probability in the distribution that it was drawn from
    """
    logprobs = logits.log_softmax(-1)
    values, ids = logprobs.topk(min(count, logits.numel()))
    top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return TokenLogprobs(token, float(logprobs[token]), top, sampling)


def apply_mask(logits: Tensor, mask: npt.NDArray[np.int32]) -> Tensor:
    """(V,) -> (V,): -inf where the (ceil(V / 32),) mask has a 0; bit i % 32 of word i // 32 belongs to token i."""
    allowed = np.unpackbits(np.ascontiguousarray(mask).view(np.uint8), count=logits.numel(), bitorder="little")
    return logits.masked_fill(torch.from_numpy(allowed == 0).to(logits.device), DROPPED)


def new_generator(seed: int | None) -> torch.Generator:
    """A request's own random generator, on the CPU on every device; None takes a seed from the system."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def add_bias(logits: Tensor, bias: Sequence[tuple[int, float]]) -> Tensor:
    """(V,) -> (V,): plus the bias of each (token id, bias); what a grammar forbids stays forbidden."""
    ids, values = zip(*bias, strict=True)
    return logits.index_add(0, torch.tensor(ids, device=logits.device), logits.new_tensor(values))


def penalize_repetition(logits: Tensor, penalty: float, history: Sequence[int]) -> Tensor:
    """(V,) -> (V,): positive logits of tokens in `history` divided by `penalty`, negative ones multiplied (CTRL)."""
    if not history:
        return logits
    ids = torch.tensor(history, device=logits.device)
    repeated = logits[ids].double()
    # A very small penalty must not make logits infinite: the difference of two infinities is NaN.
    scaled = torch.where(repeated > 0, repeated / penalty, repeated * penalty).clamp(-MAX_LOGIT, MAX_LOGIT)
    # An id that occurs several times is written several times, with the same value each time.
    return logits.index_put((ids,), scaled.to(logits.dtype))


def penalize_answer(logits: Tensor, presence: float, frequency: float, answer_ids: Sequence[int]) -> Tensor:
    """(V,) -> (V,): minus `presence` for each distinct token of the answer, minus `frequency` for each occurrence."""
    if not answer_ids:
        return logits
    counts = torch.bincount(torch.tensor(answer_ids), minlength=logits.numel()).to(logits)
    return logits - presence * counts.clamp(max=1) - frequency * counts


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """(V,) -> (V,): the largest logit becomes 0, the others their distance to it over `temperature`."""
    # Distances are at most 0 and cannot overflow upward, so a temperature near 0 is greedy and gives no NaN.
    return (logits - logits.max()) / max(temperature, MIN_TEMPERATURE)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """(V,) -> (V,): all but exactly the `k` largest become -inf; among equal logits the lowest ids stay."""
    if k >= logits.numel():
        return logits
    threshold = logits.topk(k).values[-1]
    above = logits > threshold
    equal = logits == threshold
    room = k - above.sum()
    return logits.masked_fill(~(above | (equal & (equal.cumsum(0) <= room))), DROPPED)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """(V,) -> (V,): all but the smallest set whose probability reaches `p` become -inf; at least one stays."""
    total = logits.double().logsumexp(0)
    # A full sort of the vocabulary is slow, and a few hundred tokens nearly always reach p.
    for size in (min(TOP_P_FIRST_SIZE, logits.numel()), logits.numel()):
        reached = (logits.topk(size).values.double() - total).exp().cumsum(0)
        count = int((reached < p).sum()) + 1
        if count <= size:
            break
    return keep_top_k(logits, count)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """(V,) -> (V,): tokens less likely than `p` times the most likely one become -inf."""
    return logits.masked_fill(logits < logits.max() + math.log(p), DROPPED)


def draw(logits: Tensor, generator: torch.Generator | None) -> int:
    """(V,) -> a token id with the probability that softmax gives it; takes one uniform number from `generator`."""
    kept = (logits > DROPPED).nonzero().squeeze(1)
    cumulative = logits[kept].double().softmax(0).cumsum(0)
    device = generator.device if generator is not None else None
    point = torch.rand((), dtype=torch.float64, generator=generator, device=device).to(logits.device)
    # right=True never selects a token of probability 0; min() is for a point that rounds up to 1.
    index = int(torch.searchsorted(cumulative, point * cumulative[-1], right=True))
    return int(kept[min(index, kept.numel() - 1)])

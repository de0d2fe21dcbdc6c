"""Answers sampled from a model while it is trained, by the engine that serves it. The only file here that knows it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from phi4mm.config.engine import EngineArgs
from phi4mm.engine.client import InlineClient
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineRequest
from phi4mm.engine.sampler import keep_likely
from phi4mm.errors import ConfigError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.training.collate import collate
from phi4mm.training.data import TrainingExample
from phi4mm.training.grpo import RolloutBatch, advantages
from phi4mm.training.losses import Keep

ENGINE_ARGS = EngineArgs(kv_cache_bytes=2**28, enable_prefix_caching=False, num_speculative_tokens=0)


@dataclass(frozen=True)
class Rollout:
    """One sampled answer.

    ids       its token ids, the one that ended it included
    logprobs  of each in the distribution that it was drawn from
    finished  whether it ended by itself, not at the limit
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool


class Rollouts:
    """Samples answers with the weights that the model has at that moment. The engine runs on the model itself."""

    def __init__(self, model: Phi4MM, eos_ids: Sequence[int], engine_args: EngineArgs = ENGINE_ARGS) -> None:
        self._model = model
        self._client = InlineClient(Engine(model, eos_ids, engine_args))
        self._numbers = itertools.count()

    def sample(
        self, prompts: Sequence[Prompt], adapter: Adapter | None, params: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Rollout]]:
        """`params.n` answers to each prompt, all side by side, in evaluation mode and without gradients.

        seeds   of each prompt's answers
        raises  ConfigError for parameters whose distribution the trainer cannot compute, EngineError when one fails
        """
        check_sampling(params)
        training = self._model.training
        self._model.eval()
        try:
            with torch.no_grad():
                self._client.invalidate()
                return self._sample(prompts, adapter, replace(params, logprobs=0), seeds)
        finally:
            self._model.train(training)

    def _sample(
        self, prompts: Sequence[Prompt], adapter: Adapter | None, params: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Rollout]]:
        queues = [
            self._client.submit(
                EngineRequest(str(next(self._numbers)), prompt, replace(params, seed=seed), adapter=adapter)
            )
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        groups = []
        for queue in queues:
            ids: list[list[int]] = [[] for _ in range(params.n)]
            logprobs: list[list[float]] = [[] for _ in range(params.n)]
            reasons: dict[int, str] = {}
            while len(reasons) < params.n:
                output = queue.get()
                if output.error is not None:
                    raise output.error
                ids[output.index] += output.ids
                logprobs[output.index] += [entry.sampling_logprob for entry in output.logprobs]
                if output.finish_reason is not None:
                    reasons[output.index] = output.finish_reason
            groups.append([Rollout(tuple(ids[n]), tuple(logprobs[n]), reasons[n] == "stop") for n in range(params.n)])
        return groups


def sample_batch(
    rollouts: Rollouts,
    examples: Sequence[TrainingExample],
    score: Callable[[int, Rollout], float],
    adapter: Adapter | None,
    params: SamplingParams,
    seed: int,
    original_max_positions: int,
) -> RolloutBatch:
    """Answers to the prompts of `examples`, whose own answers are not looked at, with their advantages.

    score  the reward of an answer to example number i
    """
    prompts = [question(example) for example in examples]
    groups = rollouts.sample(prompts, adapter, params, [seed + n * params.n for n in range(len(prompts))])
    rewards = torch.tensor([[score(n, answer) for answer in group] for n, group in enumerate(groups)])
    answers = [
        with_answer(example, answer, adapter)
        for example, group in zip(examples, groups, strict=True)
        for answer in group
    ]
    lengths = torch.tensor([len(answer.ids) for group in groups for answer in group])
    return RolloutBatch(
        collate(answers, original_max_positions),
        advantages(rewards).flatten().repeat_interleave(lengths),
        torch.tensor([logprob for group in groups for answer in group for logprob in answer.logprobs]),
        tuple(rewards.flatten().tolist()),
    )


def question(example: TrainingExample) -> Prompt:
    """The prompt of an example: what comes before its first label."""
    return replace(example.prompt, ids=example.prompt.ids[: example.label_mask.index(True)])


def with_answer(example: TrainingExample, answer: Rollout, adapter: Adapter | None) -> TrainingExample:
    """The prompt of an example with a sampled answer, whose tokens are the labels."""
    prompt = question(example)
    mask = (*(False,) * len(prompt.ids), *(True,) * len(answer.ids))
    return TrainingExample(replace(prompt, ids=(*prompt.ids, *answer.ids)), mask, adapter, example.name)


def check_sampling(params: SamplingParams) -> None:
    """Refuse parameters whose distribution depends on more than the logits of a token. Raises ConfigError."""
    plain = SamplingParams()
    penalties = ("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "stop")
    for name in penalties:
        if getattr(params, name) != getattr(plain, name):
            raise ConfigError(f"rollouts are sampled with {name} {getattr(params, name)!r:.40}; leave it out")
    if params.temperature <= 0:
        raise ConfigError(f"rollouts are sampled at temperature {params.temperature}; expected more than 0")


def filter_of(params: SamplingParams) -> Keep | None:
    """What the sampler of `params` drops, as a function of (n, V) logits over the temperature; None for nothing."""
    if not params.top_k and params.top_p == 1.0 and params.min_p == 0.0:
        return None
    return lambda logits: torch.stack([keep_likely(row, params) for row in logits])

"""Counts and times of requests for Prometheus, with vLLM's names where vLLM has one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from phi4mm.inference.stream import Piece
from phi4mm.protocol.inputs import Prompt

_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


class Metrics:
    """Counts of the requests of one server."""

    def __init__(self, name: str) -> None:
        self.registry = CollectorRegistry()
        self._name = name

        def histogram(metric: str, help: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"vllm:{metric}", help, ["model_name"], buckets=buckets, registry=self.registry).labels(
                name
            )

        self.first_token = histogram("time_to_first_token_seconds", "From the request to the first token", _SECONDS)
        self.between = histogram("inter_token_latency_seconds", "Between two outputs of an answer", _SECONDS)
        self.whole = histogram("e2e_request_latency_seconds", "From the request to the end of an answer", _SECONDS)
        self.prompt = histogram("request_prompt_tokens", "Tokens of a prompt", _TOKENS)
        self.generated = histogram("request_generation_tokens", "Tokens of an answer", _TOKENS)
        self.finished = Counter(
            "vllm:request_success", "Answers that ended", ["model_name", "finished_reason"], registry=self.registry
        )
        self.answered = Counter(
            "phi4mm:http_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )

    def watch(self, state: Mapping[str, Any]) -> Watch:
        """What observes one request from now on; `state` is the request's, which gets the account of its key later."""
        return Watch(self, state)

    def finish(self, reason: str) -> None:
        """Count an answer."""
        self.finished.labels(self._name, reason).inc()


class Watch:
    """Observes the answers of one request."""

    def __init__(self, metrics: Metrics, state: Mapping[str, Any]) -> None:
        self._metrics, self._state, self._start = metrics, state, time.monotonic()
        self.tokens = 0  # of prompts and answers that were run
        self._prompts = 0
        self._last: dict[tuple[int, int], float] = {}  # when an answer of a prompt grew

    def sends(self, prompt: Prompt) -> Callable[[Piece], None]:
        """A prompt goes to the engine. What is returned is to be called with each piece of its answers."""
        self._spend(len(prompt.ids))
        if (account := self._state.get("account")) is not None:
            account.spend_audio(prompt)
        self._prompts += 1
        return partial(self._saw, self._prompts)

    def _spend(self, tokens: int) -> None:
        self.tokens += tokens
        if (account := self._state.get("account")) is not None:
            account.spend_tokens(tokens)

    def _saw(self, prompt: int, piece: Piece) -> None:
        now = time.monotonic()
        before = self._last.get((prompt, piece.index))
        if before is not None:
            self._metrics.between.observe(now - before)
        elif not self._last:
            self._metrics.first_token.observe(now - self._start)
        self._last[prompt, piece.index] = now
        self._spend(piece.tokens)  # at once: the client may leave before the end
        if piece.reply is not None:
            self._metrics.whole.observe(now - self._start)
            self._metrics.prompt.observe(piece.reply.usage.prompt_tokens)
            self._metrics.generated.observe(piece.reply.usage.completion_tokens)
            self._metrics.finish(piece.reply.finish_reason)

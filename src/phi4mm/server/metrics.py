"""GET /metrics: Prometheus, with vLLM's names where vLLM has one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.engine.messages import EngineStats
from phi4mm.server.service import Service

STATS_SECONDS = 2.0  # that the worker may take to say how it is; without it, its figures are left out


class _EngineFigures:
    """The engine's own figures, as a collector."""

    def __init__(self, stats: EngineStats, name: str) -> None:
        self._stats, self._name = stats, name

    def collect(self) -> Iterator[Metric]:
        """Prometheus calls it."""
        stats = self._stats
        used = stats.pages_held / stats.pages if stats.pages else 0.0
        for name, help, value in (
            ("num_requests_running", "Answers that run", stats.running),
            ("num_requests_waiting", "Answers that wait", stats.waiting),
            ("kv_cache_usage_perc", "Part of the pages that requests hold, 0 to 1", used),
        ):
            gauge = GaugeMetricFamily(f"vllm:{name}", help, labels=["model_name"])
            gauge.add_metric([self._name], value)
            yield gauge
        for name, help, value in (
            ("prompt_tokens", "Prompt tokens that were run", stats.prompt_tokens_total),
            ("generation_tokens", "Tokens of answers", stats.completion_tokens_total),
            ("num_preemptions", "Answers that had to begin again", stats.preemptions_total),
            ("prefix_cache_hits", "Prompt tokens found in the prefix cache", stats.cached_tokens_total),
            ("spec_decode_num_draft_tokens", "Tokens that prompt lookup proposed", stats.proposed_tokens_total),
            ("spec_decode_num_accepted_tokens", "Proposed tokens that were right", stats.accepted_tokens_total),
        ):
            counter = CounterMetricFamily(f"vllm:{name}", help, labels=["model_name"])
            counter.add_metric([self._name], value)
            yield counter


async def metrics(request: Request) -> Response:
    """All figures; those of the engine only while it answers."""
    service: Service = request.app.state.service
    text = generate_latest(service.metrics.registry)
    if service.state != "loading":
        registry = CollectorRegistry()
        try:
            async with asyncio.timeout(STATS_SECONDS):
                stats = await service.stats()
        except TimeoutError:
            return Response(text, media_type=CONTENT_TYPE_LATEST)
        registry.register(_EngineFigures(stats, service.name))
        text += generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)

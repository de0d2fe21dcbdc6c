"""What one request costs its key, and the times between its tokens."""

from __future__ import annotations

from prometheus_client import generate_latest

from phi4mm.inference.stream import Piece
from phi4mm.protocol.inputs import Prompt
from phi4mm.server.limits import Account, KeyLimits
from phi4mm.server.request_metrics import Metrics


def test_a5_tokens_count_as_they_come() -> None:
    """A client that always leaves before the end would evade its limit."""
    account = Account(KeyLimits(tokens_per_minute=1000))
    saw = Metrics("nano").watch({"account": account}).sends(Prompt((1, 2, 3)))
    for tokens in (1, 4):
        saw(Piece(0, "x", tokens, (), None))
    assert account.headers()["x-ratelimit-remaining-tokens"] == "992"


def test_times_between_tokens_are_those_of_one_answer() -> None:
    """Answers of several prompts have the same index, and would seem to be one fast answer."""
    metrics = Metrics("nano")
    watch = metrics.watch({})
    for saw in [watch.sends(Prompt((1,))), watch.sends(Prompt((2,)))]:
        saw(Piece(0, "x", 1, (), None))
    assert b'vllm:inter_token_latency_seconds_count{model_name="nano"} 0.0' in generate_latest(metrics.registry)
    saw(Piece(0, "y", 1, (), None))
    assert b'vllm:inter_token_latency_seconds_count{model_name="nano"} 1.0' in generate_latest(metrics.registry)

"""KeyLimits of one key: requests at once, tokens and seconds of audio a minute."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from phi4mm.protocol.inputs import AudioFrames, Prompt
from phi4mm.server.errors import ApiError

MINUTE = 60.0  # seconds


@dataclass(frozen=True)
class KeyLimits:
    """None is no limit."""

    concurrent: int | None = None
    tokens_per_minute: int | None = None
    audio_seconds_per_minute: int | None = None


class Allowance:
    """An amount that is spent and grows back evenly, in a minute from nothing to full.

    What a request costs is known when it has ended, so it may be overdrawn; the next one waits longer then.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit  # a minute
        self._left, self._at = float(limit), time.monotonic()

    def left(self) -> float:
        """What may be spent now; below 0 where it is overdrawn."""
        now = time.monotonic()
        self._left = min(self.limit, self._left + (now - self._at) * self.limit / MINUTE)
        self._at = now
        return self._left

    def spend(self, amount: float) -> None:
        """Take away."""
        self._left = self.left() - amount

    def change(self, limit: int) -> None:
        """Another limit from now on. What was spent stays spent."""
        self._left = self.left() + limit - self.limit
        self.limit = limit

    def seconds_until(self, amount: float) -> float:
        """How long until this much is left."""
        return max(0.0, (amount - self.left()) * MINUTE / self.limit)


class Account:
    """What one key has used."""

    def __init__(self, limits: KeyLimits) -> None:
        self.limits = limits
        self._running = 0
        self._tokens = _changed(None, limits.tokens_per_minute)
        self._audio = _changed(None, limits.audio_seconds_per_minute)

    def change(self, limits: KeyLimits) -> None:
        """Other limits from now on. What was spent stays spent, and what runs still counts."""
        self.limits = limits
        self._tokens = _changed(self._tokens, limits.tokens_per_minute)
        self._audio = _changed(self._audio, limits.audio_seconds_per_minute)

    def enter(self, *, generates: bool) -> None:
        """A request begins. Raises ApiError 429 over a limit; otherwise call `leave` when it ends.

        generates  whether it asks for an answer: tokens and audio of other requests are not limited
        """
        if self.limits.concurrent is not None and self._running >= self.limits.concurrent:
            raise self._refused(f"{self._running} requests of this key run, its limit", 1)
        for allowance, what in ((self._tokens, "tokens"), (self._audio, "seconds of audio")):
            if generates and allowance is not None and allowance.left() < 1:
                reason = f"this key has used its {allowance.limit} {what} a minute"
                raise self._refused(reason, allowance.seconds_until(1))
        self._running += 1

    def leave(self) -> None:
        """A request has ended."""
        self._running -= 1

    def spend_tokens(self, count: int) -> None:
        """Tokens of a prompt or answer were run."""
        if self._tokens is not None:
            self._tokens.spend(count)

    def spend_audio(self, prompt: Prompt) -> None:
        """The audio clips of a prompt will be heard."""
        if self._audio is not None:
            self._audio.spend(sum(span.data.seconds for span in prompt.spans if isinstance(span.data, AudioFrames)))

    def headers(self) -> dict[str, str]:
        """What is left, in OpenAI's headers; `requests` are those at once."""
        found: dict[str, str] = {}
        if (most := self.limits.concurrent) is not None:
            found |= {
                "x-ratelimit-limit-requests": str(most),
                "x-ratelimit-remaining-requests": str(max(0, most - self._running)),
            }
        for allowance, what in ((self._tokens, "tokens"), (self._audio, "audio-seconds")):
            if allowance is not None:
                found |= {
                    f"x-ratelimit-limit-{what}": str(allowance.limit),
                    f"x-ratelimit-remaining-{what}": str(max(0, int(allowance.left()))),
                    f"x-ratelimit-reset-{what}": f"{allowance.seconds_until(allowance.limit):.1f}s",
                }
        return found

    def _refused(self, reason: str, seconds: float) -> ApiError:
        after = max(1, math.ceil(seconds))
        message = f"{reason}; try again in {after} s"
        return ApiError(429, message, code="rate_limit_exceeded", retry_after=after, headers=self.headers())


def _changed(before: Allowance | None, limit: int | None) -> Allowance | None:
    """The allowance with this limit; a full one where there was none."""
    if before is None or limit is None:
        return Allowance(limit) if limit is not None else None
    before.change(limit)
    return before

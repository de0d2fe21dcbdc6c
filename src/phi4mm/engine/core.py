"""Tokens and media in, tokens out: `add`, `step`, `abort`. A step is plan, run, commit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor

from phi4mm.config.engine import Limits
from phi4mm.engine.encoder_cache import MediaCache
from phi4mm.engine.kv_capacity import settle
from phi4mm.engine.kv_pages import PagePool
from phi4mm.engine.model_runner import Runner
from phi4mm.engine.request import Constraint, Request, State
from phi4mm.engine.scheduler import Scheduler, StepOutput
from phi4mm.errors import InputError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams

DIGEST = 32  # bytes of SHA-256
NO_LIMITS_GIVEN = Limits()


class Engine:
    """Runs requests of any mixture of modes and lengths side by side. Not for several threads at once.

    limits   what runs side by side, with the memory that was chosen
    reasons  for that choice
    pool     pages of keys and values
    media    encoder rows
    """

    def __init__(self, model: Phi4MM, eos_ids: Sequence[int], limits: Limits = NO_LIMITS_GIVEN) -> None:
        """Takes the memory for keys and values. Raises ConfigError when the limits leave no room for any."""
        self._model = model
        self._eos_ids = tuple(eos_ids)
        self._context = model.config.text.rope.max_positions
        self._ids = itertools.count()
        self._asked = limits
        self._build()

    def _build(self) -> None:
        """Everything that belongs to one device."""
        self.limits, capacity, self.reasons = settle(self._asked, self._model)
        self.pool = PagePool(capacity.pages)
        self.media: MediaCache[Tensor] = MediaCache(capacity.media_rows)
        self._runner = Runner(self._model, capacity, self.media)
        self._scheduler = Scheduler(
            self.pool,
            self.media,
            self.limits,
            switch=self._model.config.text.rope.original_max_positions,
            context=self._context,
            eos_ids=self._eos_ids,
        )

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return self._scheduler.busy

    @property
    def room(self) -> int:
        """How many more requests may be added."""
        return self._scheduler.room

    def move(self, device: str) -> None:
        """Put the weights on another device and forget all caches; only while nothing runs."""
        assert not self.busy, "a running request holds its keys and values on the old device"
        self._model.to(device)
        self._build()

    def add(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        constraint: Constraint | None = None,
        after: Request | None = None,
    ) -> Request:
        """Queue a request for one answer; `params.n` is for the caller, who adds it n times.

        constraint  what the answer must look like; this request's own
        after       a request with the same prompt: wait for its keys and values and share them
        raises      InputError when it can never run, CapacityError when too many wait
        """
        self._check(prompt)
        shared = after if self.limits.prefix_cache else None
        request = Request(f"r{next(self._ids)}", prompt, params, constraint, shared)
        self._scheduler.add(request)
        return request

    def step(self) -> list[StepOutput]:
        """A token for every answering row, and prompts a chunk further. Empty when no token came."""
        plan = self._scheduler.plan()
        assert plan or not self.busy, "requests wait and nothing can run"
        if not plan:
            return []
        outputs = self._scheduler.commit(plan, self._runner.run(plan))
        for output in outputs:
            if output.end_reason is not None:
                self._runner.release(output.request)
        return outputs

    def abort(self, request: Request) -> None:
        """End a request now and free what it holds; does nothing if it has ended."""
        if request.state is not State.FINISHED:
            self._scheduler.finish(request, "abort")
            self._runner.release(request)

    def _check(self, prompt: Prompt) -> None:
        if not prompt.ids:
            raise InputError("the prompt is empty; expected at least one token")
        if len(prompt.ids) >= self._context:
            raise InputError(
                f"the prompt has {len(prompt.ids)} tokens and the context holds {self._context}, the answer included;"
                " shorten the text or use fewer or smaller pictures and recordings"
            )
        adapter = prompt.adapter
        if adapter is not None and adapter not in self._model.adapters:
            kinds = " and ".join(sorted({span.kind for span in prompt.spans}))
            raise InputError(
                f"the prompt holds {kinds} but the model was loaded without its {adapter} adapter;"
                ' load a checkpoint that has it, with modalities="all"'
            )
        for span in prompt.spans:
            if len(span.digest) != DIGEST:
                raise InputError(
                    f"the digest of an {span.kind} has {len(span.digest)} bytes; expected the {DIGEST} of SHA-256 over"
                    " its processed array, by which caches tell media apart"
                )

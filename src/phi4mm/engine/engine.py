"""Tokens and media in, tokens out: `add`, `step`, `abort`. A step is plan, run, commit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from phi4mm.engine.request import Request, State
from phi4mm.engine.runner import Runner
from phi4mm.engine.scheduler import Scheduler, StepOutput
from phi4mm.errors import InputError
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.options import SamplingParams
from phi4mm.prompt import Prompt


class Engine:
    """Runs requests of any mixture of modes and lengths side by side. Not for several threads at once."""

    def __init__(self, model: Phi4MM, eos_ids: Sequence[int]) -> None:
        rope = model.config.text.rope
        self._model = model
        self._context = rope.max_positions
        self._runner = Runner(model)
        self._scheduler = Scheduler(switch=rope.original_max_positions, context=self._context, eos_ids=eos_ids)
        self._ids = itertools.count()

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return self._scheduler.busy

    def move(self, device: str) -> None:
        """Put the weights on another device; only while nothing runs."""
        assert not self.busy, "a running request holds its keys and values on the old device"
        self._runner = Runner(self._model.to(device))

    def add(self, prompt: Prompt, params: SamplingParams) -> Request:
        """Queue a request. Raises InputError when it can never run."""
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
        request = Request(f"r{next(self._ids)}", prompt, params)
        self._scheduler.add(request)
        return request

    def step(self) -> list[StepOutput]:
        """One token for every running request; new ones join. Empty when there is nothing to do."""
        plan = self._scheduler.plan()
        if not plan:
            return []
        outputs = self._scheduler.commit(plan, self._runner.run(plan))
        for output in outputs:
            if output.end_reason is not None:
                self._runner.release(output.request)
        return outputs

    def abort(self, request: Request) -> None:
        """End a request now; does nothing if it has ended."""
        if request.state is not State.FINISHED:
            self._scheduler.finish(request, "abort")
            self._runner.release(request)

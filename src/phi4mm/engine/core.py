"""Requests in, outputs out: `add`, `step`, `abort`. A step is plan, run, commit."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from phi4mm.checkpoint.adapters import read_adapter
from phi4mm.config.engine import EngineArgs
from phi4mm.engine.encoder_cache import EncoderCache
from phi4mm.engine.kv_capacity import plan_kv_cache
from phi4mm.engine.kv_pages import PagePool
from phi4mm.engine.messages import EngineInfo, EngineOutput, EngineRequest, EngineStats
from phi4mm.engine.model_runner import Runner
from phi4mm.engine.prompt_logits import last_logits
from phi4mm.engine.request import Constraint, Request, State
from phi4mm.engine.scheduler import ScheduledChunk, Scheduler, StepOutput
from phi4mm.engine.weight_watch import weight_watch
from phi4mm.errors import CapacityError, ConfigError, EngineError, InputError, PhiError
from phi4mm.model.adapter_weights import AdapterWeights
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.detokenizer import TextStream
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.sampling import SamplingParams

DEFAULT_ARGS = EngineArgs()
log = logging.getLogger("phi4mm.engine")


class Engine:
    """Runs requests of any mixture of media, adapters and lengths together. Use it from one thread at a time.

    engine_args  the arguments, with `kv_cache_bytes` chosen
    reasons      why it was chosen
    pool         pages of keys and values
    media        encoder outputs
    """

    def __init__(
        self,
        model: Phi4MM,
        eos_ids: Sequence[int],
        engine_args: EngineArgs = DEFAULT_ARGS,
        *,
        token_bytes: Callable[[int], bytes] | None = None,
        grammars: Callable[[str], Constraint] | None = None,
    ) -> None:
        """Allocates the memory for keys and values.

        token_bytes  the bytes that a token id adds to an answer's text; without it stop strings are refused
        grammars     compiles a grammar's source; without it structured output is refused
        raises       ConfigError when the engine arguments leave no room for one page
        """
        self._model = model
        self._eos_ids = tuple(eos_ids)
        self._token_bytes = token_bytes
        self._grammars = grammars
        self._requested_args = engine_args
        self._requests: dict[str, list[Request]] = {}
        self._totals: Counter[str] = Counter()
        self._weights_version = 0
        self._build()

    def _build(self) -> None:
        """Create everything that lives on the model's device, and the scheduler."""
        self.engine_args, capacity, self.reasons = plan_kv_cache(self._requested_args, self._model)
        self.pool = PagePool(capacity.pages)
        self.media: EncoderCache[Tensor] = EncoderCache(capacity.encoder_tokens)
        self._runner = Runner(self._model, capacity, self.media)
        self._weights_changed = weight_watch(self._model, values=True)
        rope = self._model.config.text.rope
        self._scheduler = Scheduler(
            self.pool,
            self.media,
            self.engine_args,
            switch=rope.original_max_positions,
            context=rope.max_positions,
            eos_ids=self._eos_ids,
        )

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return self._scheduler.busy

    @property
    def info(self) -> EngineInfo:
        """What clients may know about the engine."""
        towers = {"image": self._model.image, "audio": self._model.audio}
        return EngineInfo(
            engine_args=self.engine_args,
            reasons=self.reasons,
            context=self._model.config.text.rope.max_positions,
            vocab_size=self._model.config.text.vocab_size,
            cache_tokens=self.pool.total * self.engine_args.page_size,
            towers=frozenset(kind for kind, tower in towers.items() if tower is not None),
            adapters=tuple(self._model.adapters),
        )

    def stats(self) -> EngineStats:
        """The state of the engine now, and its counters."""
        return EngineStats(
            waiting=self._scheduler.waiting,
            running=self._scheduler.running,
            pages=self.pool.total,
            pages_free=self.pool.free,
            pages_held=self.pool.held,
            pages_cached=self.pool.cached,
            encoder_tokens=self.media.used,
            encoder_held=self.media.held,
            preemptions_total=self._scheduler.preemptions,
            proposed_tokens_total=self._scheduler.proposed_tokens,
            accepted_tokens_total=self._scheduler.accepted_tokens,
            adapters=tuple(self._model.adapters),
            steps_total=self._totals["steps"],
            prompt_tokens_total=self._totals["prompt_tokens"],
            cached_tokens_total=self._totals["cached_tokens"],
            completion_tokens_total=self._totals["completion_tokens"],
        )

    def add(self, request: EngineRequest) -> tuple[Request, ...]:
        """Queue a request; returns the engine's state of its `n` answers.

        raises  InputError when it can never run, ConfigError when its grammar needs a package that is not installed,
                CapacityError when too many wait; in each case nothing is queued
        """
        if self._weights_changed():
            self.invalidate()
        self.info.check(request)
        count = request.params.n
        if request.id in self._requests:
            raise InputError(f"request id {request.id} is running already; give each request its own id")
        if self._scheduler.room < count:
            raise CapacityError(
                f"the queue has room for {self._scheduler.room} more answers and this request needs {count};"
                " try again later"
            )
        constraint = self._compile(request)
        if request.params.stop and self._token_bytes is None:
            raise InputError("stop strings need the tokenizer's bytes; create the engine with token_bytes=")
        answers = tuple(self._answer(request, index, constraint) for index in range(count))
        for answer in answers:
            self._scheduler.add(answer)
        self._requests[request.id] = list(answers)
        return answers

    def accept(self, request: EngineRequest) -> list[EngineOutput]:
        """`add` for clients: an error is returned as outputs that end the request, not raised."""
        try:
            self.add(request)
        except PhiError as error:
            failure: PhiError = error
        except Exception as error:
            log.exception("request %s could not be queued", request.id)
            failure = EngineError(f"the request could not be queued: {type(error).__name__}: {error}", request.id)
        else:
            return []
        return [EngineOutput(request.id, n, finish_reason="error", error=failure) for n in range(request.params.n)]

    def step(self) -> list[EngineOutput]:
        """Run one step: one token or more for each decoding sequence, and chunks of prompts.

        An error of the forward pass ends only the requests of this step, each with an `EngineError`.
        """
        if self._weights_changed():
            self.invalidate()
        plan = self._scheduler.plan()
        assert plan or not self.busy, "requests wait but nothing can run"
        if not plan:
            return []
        try:
            results = self._runner.run(plan)
        except Exception as error:
            log.exception("a step of %d requests failed", len(plan))
            results = [[] for _ in plan]
            for chunk in plan:
                chunk.request.error = EngineError(f"a step failed: {type(error).__name__}: {error}", chunk.request.id)
        self._count(plan)
        return [self._output(output) for output in self._scheduler.commit(plan, results)]

    def abort(self, id: str) -> None:
        """End all answers to a request now and release their pages; does nothing if they have ended."""
        for request in self._requests.get(id, [])[:]:
            self._scheduler.finish(request, "abort")
            self._forget(request)

    def prompt_logits(self, prompt: Prompt, adapter: Adapter | None, keep: int) -> Tensor:
        """(keep, V) logits of the prompt's last `keep` tokens, in the model's dtype. Running answers wait meanwhile.

        raises  InputError for a prompt that can never run, or more than half of the free memory for logits and keys
        """
        self.info.check(EngineRequest("logits", prompt, SamplingParams(max_tokens=1), adapter))
        return last_logits(self._model, prompt, adapter, keep)

    def move(self, device: str) -> None:
        """Put the weights on another device and forget all caches. Raises CapacityError while requests run."""
        if self.busy:
            count = self._scheduler.waiting + self._scheduler.running
            raise CapacityError(f"{count} answers are running; finish or close them before the model moves")
        self._model.to(device)
        self._build()

    def invalidate(self) -> None:
        """Forget cached results of earlier weights. Call it after a training step changed weights in place.

        Replaced weights are detected without this call. Running requests keep their keys and values.
        """
        self._weights_version += 1
        self.pool.reset_prefix_cache()
        self.media.clear()
        self._runner.invalidate()
        self._weights_changed = weight_watch(self._model, values=True)

    def add_adapter(self, name: Adapter, weights: AdapterWeights) -> None:
        """Add an adapter; the next request may use it. Raises ConfigError for a name in use or wrong weights."""
        self._model.add_adapter(name, weights)
        self._adapters_changed()

    def load_adapter(self, name: Adapter, folder: Path) -> None:
        """Read a PEFT folder and add it as `name`. Raises ConfigError, CheckpointError."""
        self.add_adapter(name, read_adapter(folder, self._model.config))

    def remove_adapter(self, name: Adapter) -> None:
        """Remove an adapter. Raises ConfigError when there is none of that name, CapacityError while it is in use."""
        using = sum(request.adapter == name for requests in self._requests.values() for request in requests)
        if using:
            raise CapacityError(f"{using} answers are running with adapter {name:.60}; try again when they have ended")
        self._model.remove_adapter(name)
        self._adapters_changed()

    def _adapters_changed(self) -> None:
        """Forget derived weights only: the other adapters did not change, so cached results stay valid."""
        self._runner.invalidate()
        self._weights_changed = weight_watch(self._model, values=True)

    def _compile(self, request: EngineRequest) -> Constraint | None:
        if request.grammar is None:
            return None
        if self._grammars is None:
            raise ConfigError("structured output needs a grammar compiler; create the engine with grammars=")
        return self._grammars(request.grammar)

    def _answer(self, request: EngineRequest, index: int, constraint: Constraint | None) -> Request:
        """One of the `n` answers: its own seed, grammar state and stop strings."""
        params = request.params
        seed = None if params.seed is None else params.seed + index
        return Request(
            id=request.id if params.n == 1 else f"{request.id}/{index}",
            weights_version=self._weights_version,
            request_id=request.id,
            eos_ids=request.eos_ids,
            prompt=request.prompt,
            params=replace(params, seed=seed, n=1) if params.n > 1 else params,
            adapter=request.adapter,
            version=0 if request.adapter is None else self._model.text.adapters[request.adapter],
            index=index,
            constraint=constraint if constraint is None or index == 0 else constraint.fork(),
            stop=TextStream(self._token_bytes, params.stop) if params.stop and self._token_bytes else None,
        )

    def _output(self, output: StepOutput) -> EngineOutput:
        request, new = output.request, output.tokens
        result = EngineOutput(
            id=request.request_id,
            index=request.index,
            ids=tuple(request.answer[len(request.answer) - new :]),
            logprobs=tuple(request.logprobs[len(request.logprobs) - new :]) if request.logprobs else (),
            finish_reason=output.finish_reason,
            error=request.error,
            cached_tokens=request.prefix_hit or 0,
            cached_media=sum(request.media_hits.values()),
        )
        self._totals["completion_tokens"] += new
        if output.finish_reason is not None:
            self._forget(request)
        return result

    def _count(self, plan: Sequence[ScheduledChunk]) -> None:
        self._totals["steps"] += 1
        for chunk in plan:
            prompt = len(chunk.request.prompt.ids)
            self._totals["prompt_tokens"] += max(min(chunk.end, prompt) - chunk.start, 0)

    def _forget(self, request: Request) -> None:
        """Remove a finished answer from the engine's tables."""
        assert request.state is State.FINISHED
        self._runner.release(request)
        self._totals["cached_tokens"] += request.prefix_hit or 0
        answers = self._requests[request.request_id]
        answers.remove(request)
        if not answers:
            del self._requests[request.request_id]

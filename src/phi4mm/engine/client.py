"""Clients of the engine: one interface for three engine modes. This file has the interface and the inline client.

    InlineClient    the engine runs in the caller's thread, while the caller waits for an output; for scripts, rollouts
    ThreadClient    the engine runs in a thread of its own (thread_client.py)
    ProcessClient   the engine runs in a process of its own (process_client.py)

`submit` never waits for a step. A request that the engine refuses, or that fails, gets an output with an `error`.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

from torch import Tensor

from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineInfo, EngineOutput, EngineRequest, EngineStats
from phi4mm.errors import EngineError, InputError
from phi4mm.protocol.inputs import Adapter, Prompt

CLOSED = "the engine was closed"


def check_process(pid: int, id: str = "") -> None:
    """Raise EngineError in a process forked from `pid`: threads do not survive a fork, so waiting would never end."""
    if os.getpid() != pid:
        raise EngineError(
            "this process was forked after the model was loaded, and a forked model cannot answer; start processes"
            ' with the "spawn" method, as in multiprocessing.get_context("spawn"), and load the model in each',
            id,
        )


class OutputQueue:
    """The outputs of one request, in order, for one reader in any thread or event loop."""

    def __init__(self, id: str, pump: Callable[[], None] | None = None) -> None:
        """`pump` is called to produce outputs while the queue is empty: the inline client's step."""
        self._id, self._pid = id, os.getpid()
        self._pump = pump
        self._outputs: deque[EngineOutput] = deque()
        self._arrived = threading.Condition()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, output: EngineOutput) -> None:
        """Add one output and wake the reader."""
        with self._arrived:
            self._outputs.append(output)
            self._arrived.notify()
            waiter = self._waiter
        if waiter is not None:
            loop, event = waiter
            with contextlib.suppress(RuntimeError):  # the event loop was closed, so nobody reads
                loop.call_soon_threadsafe(event.set)

    def get(self) -> EngineOutput:
        """The next output; waits for it. Raises EngineError in a forked child, where none would ever arrive."""
        check_process(self._pid, self._id)
        while self._pump is not None and not self._outputs:
            self._pump()
        with self._arrived:
            while not self._outputs:
                self._arrived.wait()
            return self._outputs.popleft()

    async def aget(self) -> EngineOutput:
        """Like `get`, without blocking the event loop, except for the steps of an inline client."""
        while self._pump is not None and not self._outputs:
            self._pump()
            await asyncio.sleep(0)
        while True:
            event = asyncio.Event()
            with self._arrived:
                if self._outputs:
                    self._waiter = None
                    return self._outputs.popleft()
                self._waiter = (asyncio.get_running_loop(), event)
            await event.wait()


class EngineClient(abc.ABC):
    """Sends requests to an engine. Its methods may be called from any thread, unless a subclass says otherwise."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        # Reentrant: a garbage-collected stream aborts its request, in whatever thread and code the collector runs.
        self._lock = threading.RLock()
        self._open: dict[str, tuple[EngineRequest, OutputQueue, set[int]]] = {}  # with the unfinished indexes

    @property
    @abc.abstractmethod
    def info(self) -> EngineInfo:
        """The engine's settings, and the adapters it has now."""

    @property
    @abc.abstractmethod
    def closed(self) -> bool:
        """Whether the engine has ended: it was closed, or cannot go on."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop the engine; running requests end with an EngineError. May be called twice."""

    @abc.abstractmethod
    def _send(self, request: EngineRequest) -> None:
        """Pass a request to the engine. Raises EngineError when the engine has stopped."""

    @abc.abstractmethod
    def _send_abort(self, id: str) -> None:
        """Tell the engine to abort a request."""

    @abc.abstractmethod
    def _call(self, method: str, *arguments: object) -> Any:
        """Call a method of the engine between two steps and return its result. Raises what the method raises."""

    def _queue(self, id: str) -> OutputQueue:
        return OutputQueue(id)

    def submit(self, request: EngineRequest) -> OutputQueue:
        """Send a request. Raises InputError when it can never run, EngineError when the engine has stopped."""
        self._check_process(request.id)
        self.info.check(request)
        queue = self._queue(request.id)
        with self._lock:
            if request.id in self._open:
                raise InputError(f"request id {request.id} is running already; give each request its own id")
            self._open[request.id] = request, queue, set(range(request.params.n))
        try:
            self._send(request)
        except BaseException:
            self._open.pop(request.id, None)
            raise
        return queue

    def abort(self, id: str) -> None:
        """Abort a request and free its memory; does nothing if it has ended. The reader gets outputs with "abort"."""
        with self._lock:
            entry = self._open.pop(id, None)
        if entry is None or os.getpid() != self._pid:
            return
        self._send_abort(id)
        for index in sorted(entry[2]):
            entry[1].put(EngineOutput(id, index, finish_reason="abort"))

    def stats(self) -> EngineStats:
        """The state of the engine now, and its counters."""
        stats: EngineStats = self._call("stats")
        return stats

    def add_adapter(self, name: Adapter, folder: Path) -> None:
        """Read an adapter's folder and add it as `name`. Raises ConfigError, CheckpointError."""
        self._call("load_adapter", name, folder)

    def remove_adapter(self, name: Adapter) -> None:
        """Remove an adapter. Raises ConfigError when there is none of that name, CapacityError while it is in use."""
        self._call("remove_adapter", name)

    def prompt_logits(self, prompt: Prompt, adapter: Adapter | None, keep: int) -> Tensor:
        """(keep, V) logits of the prompt's last `keep` tokens; see `Engine.prompt_logits`. Raises InputError."""
        logits: Tensor = self._call("prompt_logits", prompt, adapter, keep)
        return logits

    def move(self, device: str) -> None:
        """Put the weights on another device. Raises CapacityError while requests run."""
        self._call("move", device)

    def invalidate(self) -> None:
        """Forget cached results of earlier weights; see `Engine.invalidate`."""
        self._call("invalidate")

    def _deliver(self, outputs: Sequence[EngineOutput]) -> None:
        """Put outputs into the queues of their requests. Outputs of requests aborted meanwhile are dropped."""
        for output in outputs:
            with self._lock:
                entry = self._open.get(output.id)
                if entry is None:
                    continue
                if output.finish_reason is not None:
                    entry[2].discard(output.index)
                    if not entry[2]:
                        del self._open[output.id]
            entry[1].put(output)

    def _fail(self, reason: str, ids: Set[str] | None = None) -> None:
        """End every unfinished request, or only those in `ids`, with an EngineError."""
        with self._lock:
            entries = [self._open.pop(id) for id in list(self._open) if ids is None or id in ids]
        for request, queue, indexes in entries:
            for index in sorted(indexes):
                queue.put(EngineOutput(request.id, index, finish_reason="error", error=EngineError(reason, request.id)))

    def _check_process(self, id: str = "") -> None:
        check_process(self._pid, id)


class InlineClient(EngineClient):
    """The engine in the caller's thread: waiting for an output takes steps. For one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine: Engine | None = engine
        self._info = engine.info
        self._aborted: deque[str] = deque()
        self._stepping = False

    @property
    def info(self) -> EngineInfo:
        """See EngineClient."""
        if self._engine is not None:
            self._info = self._engine.info
        return self._info

    @property
    def closed(self) -> bool:
        """See EngineClient."""
        return self._engine is None

    def close(self) -> None:
        """See EngineClient."""
        self._info, self._engine = self.info, None
        self._fail(CLOSED)

    def _queue(self, id: str) -> OutputQueue:
        return OutputQueue(id, self._step)

    def _send(self, request: EngineRequest) -> None:
        engine = self._open_engine(request.id)
        self._apply_aborts()
        self._deliver(engine.accept(request))

    def _send_abort(self, id: str) -> None:
        self._aborted.append(id)
        if not self._stepping:
            self._apply_aborts()

    def _call(self, method: str, *arguments: object) -> Any:
        engine = self._open_engine()
        self._apply_aborts()
        return getattr(engine, method)(*arguments)

    def _step(self) -> None:
        if self._stepping:
            raise EngineError('an inline engine runs in one thread at a time; load the model with engine="thread"')
        engine = self._open_engine()
        self._apply_aborts()
        self._stepping = True
        try:
            self._deliver(engine.step())
        finally:
            self._stepping = False

    def _apply_aborts(self) -> None:
        while self._aborted and self._engine is not None:
            self._engine.abort(self._aborted.popleft())

    def _open_engine(self, id: str = "") -> Engine:
        if self._engine is None:
            raise EngineError(CLOSED, id)
        return self._engine

"""An engine in a thread of its own: the default of `phi4mm.load`. Any thread or event loop may send requests."""

from __future__ import annotations

import logging
import os
import queue
import threading
import weakref
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from phi4mm.engine.client import CLOSED, EngineClient
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineInfo, EngineRequest
from phi4mm.errors import EngineError


@dataclass(frozen=True)
class _Abort:
    id: str


@dataclass(frozen=True)
class _Call:
    method: str
    arguments: tuple[object, ...]
    result: Future[Any] = field(default_factory=Future)


log = logging.getLogger("phi4mm.engine")
# A finalizer may put into a SimpleQueue, whatever locks its thread holds at that moment. None ends the thread.
Inbox: TypeAlias = "queue.SimpleQueue[EngineRequest | _Abort | _Call | None]"


class ThreadClient(EngineClient):
    """Holds the engine and the thread that steps it; the thread ends when the client is closed or collected."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine: Engine | None = engine
        self._info = engine.info
        self._inbox: Inbox = queue.SimpleQueue()
        self._torch_threads = torch.get_num_threads()
        self._closed_reason = ""  # empty while the client is open
        self._thread = threading.Thread(
            target=_serve, args=(engine, self._inbox, weakref.ref(self)), name="phi4mm-engine", daemon=True
        )
        self._thread.start()
        # Also at exit: the thread must end before the interpreter shuts down while torch runs in it.
        self._finalizer = weakref.finalize(self, _end, self._inbox, self._thread)

    @property
    def info(self) -> EngineInfo:
        """See EngineClient."""
        if self._engine is not None:
            self._info = self._engine.info
        return self._info

    @property
    def closed(self) -> bool:
        """See EngineClient."""
        return bool(self._closed_reason)

    def close(self) -> None:
        """See EngineClient."""
        with self._lock:
            self._closed_reason = self._closed_reason or CLOSED
        if os.getpid() == self._pid:
            self._finalizer()
            self._info, self._engine = self.info, None
        self._fail(self._closed_reason)

    def _send(self, request: EngineRequest) -> None:
        self._torch_threads = torch.get_num_threads()
        # A message that is put while the engine runs is handled, or refused at its end. A later one is refused here.
        with self._lock:
            if self._closed_reason:
                raise EngineError(self._closed_reason, request.id)
            self._inbox.put(request)

    def _send_abort(self, id: str) -> None:
        self._inbox.put(_Abort(id))

    def _call(self, method: str, *arguments: object) -> Any:
        self._check_process()
        call = _Call(method, arguments)
        with self._lock:
            if self._closed_reason:
                raise EngineError(self._closed_reason)
            self._inbox.put(call)
        return call.result.result()

    def _fail_all(self, reason: str) -> None:
        """The engine cannot go on: end all requests, so that nobody waits for it."""
        with self._lock:
            self._closed_reason = self._closed_reason or reason
        self._fail(reason)


def _serve(engine: Engine, inbox: Inbox, owner: weakref.ref[ThreadClient]) -> None:
    """Handle the messages that have arrived, then take a step; until None arrives or the owner is gone."""
    try:
        while True:
            while not engine.busy or not inbox.empty():
                message = inbox.get()
                if message is None:
                    return
                _handle(engine, message, owner)
            client = owner()
            if client is None:
                return
            if client._torch_threads != torch.get_num_threads():  # a setting of each thread: follow the callers'
                torch.set_num_threads(client._torch_threads)
            client._deliver(engine.step())
            del client
    except Exception as error:
        log.exception("the engine failed and its thread ends")
        if (client := owner()) is not None:
            client._fail_all(f"the engine failed: {type(error).__name__}: {error}")
    finally:
        _refuse_calls(inbox)


def _handle(engine: Engine, message: EngineRequest | _Abort | _Call, owner: weakref.ref[ThreadClient]) -> None:
    if isinstance(message, EngineRequest):
        refused = engine.accept(message)
        if (client := owner()) is not None:
            client._deliver(refused)
    elif isinstance(message, _Abort):
        engine.abort(message.id)
    else:
        try:
            message.result.set_result(getattr(engine, message.method)(*message.arguments))
        except Exception as error:
            message.result.set_exception(error)


def _refuse_calls(inbox: Inbox) -> None:
    """Fail the calls that are still in the inbox: the thread ends and will not answer them."""
    while not inbox.empty():
        if isinstance(message := inbox.get(), _Call):
            message.result.set_exception(EngineError(CLOSED))


def _end(inbox: Inbox, thread: threading.Thread) -> None:
    inbox.put(None)
    if thread is not threading.current_thread():  # the garbage collector may run in the engine's thread too
        thread.join()

"""The worker process of a ProcessClient: one engine, served over the socket whose descriptor is its argument."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from phi4mm.engine.messages import EngineInfo, EngineRequest
from phi4mm.engine.transport import Transport

if TYPE_CHECKING:
    from phi4mm.engine.core import Engine

EngineFactory: TypeAlias = "Callable[[], Engine]"  # picklable


@dataclass(frozen=True)
class Start:
    """The first message: how to make the engine, and the number of torch's threads (0: torch's choice)."""

    make: EngineFactory
    threads: int


@dataclass(frozen=True)
class Abort:
    """Abort a request."""

    id: str


@dataclass(frozen=True)
class Call:
    """Call a method of the engine between two steps; the result has the same `number`."""

    number: int
    method: str
    arguments: tuple[object, ...]


@dataclass(frozen=True)
class Result:
    """The result of a call, with the engine's info after it. Number 0 answers `Start`."""

    number: int
    value: object
    error: Exception | None
    info: EngineInfo | None


def serve(transport: Transport) -> None:
    """Make the engine, then handle messages and take steps until the other side closes the connection."""
    start: Start = transport.receive()
    engine = _start(start, transport)
    # Messages are received while a step runs; otherwise the sender would wait for the step.
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(transport, inbox), daemon=True).start()
    while engine is not None:
        while not engine.busy or not inbox.empty():
            message = inbox.get()
            if message is None:
                return
            if isinstance(message, EngineRequest):
                if refused := engine.accept(message):
                    transport.send(refused)
            elif isinstance(message, Abort):
                engine.abort(message.id)
            elif isinstance(message, Call):
                transport.send(_call(engine, message))
            del message  # frees its media when the request ends
        if outputs := engine.step():
            transport.send(outputs)


def _receive(transport: Transport, inbox: queue.SimpleQueue[object]) -> None:
    """Put messages into the inbox until the other side closes the connection, then None."""
    try:
        with contextlib.suppress(EOFError):
            while True:
                inbox.put(transport.receive())
    finally:  # after any error too: a worker that cannot receive must end
        inbox.put(None)


def _start(start: Start, transport: Transport) -> Engine | None:
    import torch

    if start.threads:
        torch.set_num_threads(start.threads)
    try:
        engine = start.make()
    except Exception as error:
        transport.send(Result(0, None, _portable(error), None))
        return None
    transport.send(Result(0, None, None, engine.info))
    return engine


def _call(engine: Engine, call: Call) -> Result:
    try:
        value = getattr(engine, call.method)(*call.arguments)
    except Exception as error:
        return Result(call.number, None, _portable(error), engine.info)
    return Result(call.number, value, None, engine.info)


def _portable(error: Exception) -> Exception:
    """An error that can be pickled: the error itself, or a RuntimeError with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def main() -> None:
    """Serve on the socket whose descriptor is the program's argument."""
    for sent_to_all in (signal.SIGINT, signal.SIGTERM):  # the program that started this one handles them
        signal.signal(sent_to_all, signal.SIG_IGN)
    transport = Transport(socket.socket(fileno=int(sys.argv[1])))
    # When the other side is closed, there is nothing left to do.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(transport)
    os._exit(0)  # the program waits for this process, and to take down torch lasts a second on a busy machine

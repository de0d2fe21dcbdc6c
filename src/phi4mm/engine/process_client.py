"""An engine in a process of its own (the worker), so that the caller survives when the engine crashes.

When the worker dies, each of its requests ends with an `EngineError` that names it, and another worker is started.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeAlias

from phi4mm.engine.client import CLOSED, EngineClient
from phi4mm.engine.messages import EngineInfo, EngineOutput, EngineRequest
from phi4mm.engine.transport import Transport, Unsendable
from phi4mm.engine.worker import Abort, Call, EngineFactory, Result, Start
from phi4mm.errors import EngineError, PhiError
from phi4mm.protocol.inputs import Adapter

RESTARTS, RESTART_SECONDS = 3, 60.0  # after more deaths than that within that time, no other worker is started
STOP_SECONDS = 5.0  # a worker that has not ended by then is killed
# With -c, Python puts the working folder first on sys.path. It is removed: nothing may be imported from there.
PROGRAM = "import sys; sys.path[:] = filter(None, sys.path); from phi4mm.engine.worker import main; main()"
log = logging.getLogger("phi4mm.engine")
Outbox: TypeAlias = "queue.SimpleQueue[EngineRequest | Abort | Call | None]"  # None ends the thread that sends


class WorkerDiedLoading(EngineError):
    """The worker died before its engine was ready."""


class Worker:
    """One worker process, the connection to it, and the info of its engine."""

    def __init__(self, make: EngineFactory, threads: int) -> None:
        """Start it and wait for its engine. Raises what `make` raises, WorkerDiedLoading if the worker dies."""
        here, there = socket.socketpair()
        command = [sys.executable, "-c", PROGRAM, str(there.fileno())]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with there:
            self.process = subprocess.Popen(
                command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, env=environment
            )
        self.transport = Transport(here)
        try:
            self.transport.send(Start(make, threads))
            ready: Result = self.transport.receive()
        except (EOFError, OSError):
            raise WorkerDiedLoading(f"{self.stop()} while it loaded the model") from None
        except BaseException:
            self.stop()
            raise
        if ready.error is not None:
            self.stop()
            raise ready.error
        assert ready.info is not None
        self.info: EngineInfo = ready.info

    def call(self, method: str, *arguments: object) -> None:
        """Call a method of the engine and wait for it, before any request is sent. Raises what the method raises."""
        self.transport.send(Call(0, method, arguments))
        result: Result = self.transport.receive()
        if result.error is not None:
            raise result.error
        self.info = result.info or self.info

    def stop(self) -> str:
        """Close the connection and wait for the process. Returns a text that says how it ended."""
        self.transport.close()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"the worker process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"


class ProcessClient(EngineClient):
    """Starts the worker. One thread sends messages to it, another one receives its answers."""

    def __init__(self, make: EngineFactory, *, threads: int = 0) -> None:
        """Starts the worker and waits until it is ready. Raises what `make` raises.

        make     a picklable function that loads the engine; called in the worker
        threads  torch's threads in the worker; 0 leaves the choice to torch
        """
        super().__init__()
        self._make, self._threads = make, threads
        self._closed_reason = ""  # empty while the client is open
        self._deaths: list[float] = []
        # What changed since the start: adapters added (removed: None) and the device. Repeated in a new worker.
        self._changes: dict[Adapter, Path | None] = {}
        self._device: str | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[int, Future[Any]] = {}
        self._sent: set[str] = set()  # ids of requests that the worker has, or may have
        self._changed = threading.Condition(self._lock)  # there is a new worker, or the client was closed
        worker = Worker(make, threads)
        self._info = worker.info
        self._workers = [worker]  # the running worker; empty while there is none
        self._outbox: Outbox = queue.SimpleQueue()
        self._finalizer = weakref.finalize(self, _close_connections, self._workers, self._outbox, os.getpid())
        for target, given in ((_read, worker), (_write, self._outbox)):
            threading.Thread(target=target, args=(weakref.ref(self), given), name="phi4mm-worker", daemon=True).start()

    @property
    def info(self) -> EngineInfo:
        """See EngineClient. While a new worker starts, the info of the last one."""
        return self._info

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._workers[0].process.pid if self._workers else None

    @property
    def closed(self) -> bool:
        """See EngineClient."""
        return bool(self._closed_reason)

    def close(self) -> None:
        """See EngineClient."""
        self._check_process()
        with self._changed:
            self._closed_reason = self._closed_reason or CLOSED
            workers = self._workers[:]
            self._workers.clear()
            self._changed.notify_all()
        self._outbox.put(None)
        for worker in workers:
            worker.stop()
        self._fail(self._closed_reason)
        self._fail_calls(self._closed_reason)

    def add_adapter(self, name: Adapter, folder: Path) -> None:
        """See EngineClient. The folder must stay: a new worker reads it again."""
        super().add_adapter(name, folder)
        self._changes[name] = folder

    def remove_adapter(self, name: Adapter) -> None:
        """See EngineClient."""
        super().remove_adapter(name)
        self._changes[name] = None

    def move(self, device: str) -> None:
        """See EngineClient."""
        super().move(device)
        self._device = device

    def _send(self, request: EngineRequest) -> None:
        if self._closed_reason:
            raise EngineError(self._closed_reason, request.id)
        self._outbox.put(request)

    def _send_abort(self, id: str) -> None:
        self._outbox.put(Abort(id))  # takes no lock: a finalizer may call this inside a send

    def _call(self, method: str, *arguments: object) -> Any:
        self._check_process()
        number, result = next(self._numbers), Future[Any]()
        with self._lock:
            if self._closed_reason:
                raise EngineError(self._closed_reason)
            self._calls[number] = result
            self._outbox.put(Call(number, method, arguments))
        return result.result()

    def _write(self, message: EngineRequest | Abort | Call) -> None:
        """Send one message to the worker. While there is none, wait for the next one."""
        try:
            if isinstance(message, EngineRequest):
                self._write_request(message)
            elif isinstance(message, Call):
                self._current_worker().transport.send(message)
            else:  # also for unknown and finished requests: the worker ignores those
                self._sent.discard(message.id)
                self._current_worker().transport.send(message)
        except Unsendable as error:
            self._refuse(message, f"it could not be sent to the worker: {error}")
        except OSError:  # `_write_request` does not raise it: it waits for the next worker
            self._refuse(message, "the worker process died while a call was sent to it; the call may have run or not")
        except EngineError as error:  # the client was closed, or no new worker can be started
            self._fail(error.message)
            self._fail_calls(error.message)

    def _refuse(self, message: EngineRequest | Abort | Call, reason: str) -> None:
        """Fail the request or call of this message, and nothing else."""
        if isinstance(message, EngineRequest):
            self._sent.discard(message.id)
            self._fail(reason, {message.id})
        elif isinstance(message, Call) and (result := self._calls.pop(message.number, None)) is not None:
            result.set_exception(EngineError(reason))

    def _write_request(self, request: EngineRequest) -> None:
        while request.id in self._open:
            worker = self._current_worker()
            self._sent.add(request.id)
            try:
                worker.transport.send(request)
            except OSError:
                self._sent.discard(request.id)
                worker.transport.close()  # part of the message may be sent: the reading thread must see an end too
                self._wait_for_another(worker)
            else:
                return

    def _current_worker(self, id: str = "") -> Worker:
        """The running worker; waits while a new one starts. Raises EngineError when the client is closed."""
        with self._changed:
            while not self._workers and not self._closed_reason:
                self._changed.wait()
            if self._closed_reason:
                raise EngineError(self._closed_reason, id)
            return self._workers[0]

    def _wait_for_another(self, worker: Worker) -> None:
        with self._changed:
            while worker in self._workers:
                self._changed.wait()

    def _handle(self, message: Result | Sequence[EngineOutput]) -> None:
        """Deliver one message from the worker: outputs, or the result of a call."""
        if not isinstance(message, Result):
            self._deliver(message)
            self._sent.difference_update(output.id for output in message if output.id not in self._open)
            return
        if message.info is not None:
            self._info = message.info
        future = self._calls.pop(message.number, None)
        if future is not None and message.error is not None:
            future.set_exception(message.error)
        elif future is not None:
            future.set_result(message.value)

    def _replace_worker(self, worker: Worker) -> Worker | None:
        """Fail the requests of a dead worker and start another; None when the client is closed or that fails."""
        with self._changed:
            if worker not in self._workers:
                return None
            self._workers.clear()
            self._changed.notify_all()
        reason = f"{worker.stop()} before this request had ended; send it again"
        log.error("%s", reason)
        with self._lock:
            lost, self._sent = self._sent, set()
        self._fail(reason, lost)
        self._fail_calls(reason)
        try:
            another = self._restart()
        except Exception as error:
            with self._changed:
                self._closed_reason = f"the worker process cannot be started again: {error}; load the model again"
                self._changed.notify_all()
            log.error("%s", self._closed_reason)
            self._fail(self._closed_reason)
            return None
        with self._changed:
            if self._closed_reason:
                another.stop()
                return None
            self._info = another.info
            self._workers.append(another)
            self._changed.notify_all()
        return another

    def _restart(self) -> Worker:
        """A new worker with the adapters and the device of the last one. If it dies while it loads, it is tried again.

        raises  EngineError after too many deaths, and what `make` raises
        """
        while True:
            now = time.monotonic()
            self._deaths = [death for death in self._deaths if now - death < RESTART_SECONDS] + [now]
            if len(self._deaths) > RESTARTS:
                raise EngineError(f"it died {len(self._deaths)} times within {RESTART_SECONDS:.0f} seconds")
            try:
                return self._start_worker()
            except WorkerDiedLoading as error:
                log.error("%s", error)

    def _start_worker(self) -> Worker:
        """A new worker, with the changes since the start applied."""
        worker = Worker(self._make, self._threads)
        try:
            for name, folder in self._changes.items():
                if name in worker.info.adapters:
                    worker.call("remove_adapter", name)
                if folder is not None:
                    self._reload(worker, name, folder)
            if self._device is not None:
                worker.call("move", self._device)
        except (EOFError, OSError):
            raise WorkerDiedLoading(f"{worker.stop()} while its adapters and device were restored") from None
        except BaseException:
            worker.stop()
            raise
        return worker

    def _reload(self, worker: Worker, name: Adapter, folder: Path) -> None:
        """Load an adapter in a new worker. If that fails, only requests that name the adapter fail."""
        try:
            worker.call("load_adapter", name, folder)
        except PhiError as error:
            log.error("adapter %s could not be loaded again in a new worker: %s", name, error)

    def _fail_calls(self, reason: str) -> None:
        while self._calls:
            _, future = self._calls.popitem()
            future.set_exception(EngineError(reason))


def _read(owner: weakref.ref[ProcessClient], worker: Worker | None) -> None:
    """Receive and deliver what the worker sends; when it dies, replace it and go on with the next one."""
    while worker is not None:
        try:
            message = worker.transport.receive()
            client = owner()
            if client is not None:
                client._handle(message)
        except Exception as error:  # EOFError: it died. Otherwise its messages cannot be read: it is replaced too
            if not isinstance(error, EOFError):
                log.exception("a message of the worker could not be handled")
            client = owner()
            if client is None:
                worker.stop()
                return
            worker = client._replace_worker(worker)
        client = None


def _write(owner: weakref.ref[ProcessClient], outbox: Outbox) -> None:
    """Send the messages of the outbox until None arrives or the owner is gone. No other thread waits for the socket."""
    while (message := outbox.get()) is not None and (client := owner()) is not None:
        client._write(message)
        del client


def _close_connections(workers: list[Worker], outbox: Outbox, pid: int) -> None:
    """Close the connections of a client that is gone: its worker then ends. A forked child closes only its own copy."""
    outbox.put(None)
    for worker in workers:
        worker.transport.close(shut=os.getpid() == pid)

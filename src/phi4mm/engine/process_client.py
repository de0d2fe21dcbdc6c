"""An engine in a process of its own: it survives the caller's crashes of memory, and the caller survives its death.

When the worker dies, its open requests end with an `EngineError` that names each, and another worker is started.
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

RESTARTS, RESTART_SECONDS = 3, 60.0  # so many deaths within that time and it is given up
LEAVE_SECONDS = 5.0
# Nothing is imported from the working folder, which Python puts first here.
PROGRAM = "import sys; sys.path[:] = filter(None, sys.path); from phi4mm.engine.worker import main; main()"
log = logging.getLogger("phi4mm.engine")
Outbox: TypeAlias = "queue.SimpleQueue[EngineRequest | Abort | Call | None]"  # None ends the thread that sends


class DiedLoading(EngineError):
    """The worker was gone before its engine was made."""


class Worker:
    """One worker process, its connection and its info."""

    def __init__(self, make: EngineFactory, threads: int) -> None:
        """Start it and wait until its engine is made. Raises what that raises, EngineError if it dies."""
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
            raise DiedLoading(f"{self.end()} while it loaded the model") from None
        except BaseException:
            self.end()
            raise
        if ready.error is not None:
            self.end()
            raise ready.error
        assert ready.info is not None
        self.info: EngineInfo = ready.info

    def ask(self, method: str, *arguments: object) -> None:
        """Call a method of the engine before anything else runs. Raises what it raises."""
        self.transport.send(Call(0, method, arguments))
        result: Result = self.transport.receive()
        if result.error is not None:
            raise result.error
        self.info = result.info or self.info

    def end(self) -> str:
        """Hang up, wait for it, and say how it ended."""
        self.transport.close()
        try:
            code = self.process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"the worker process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"


class ProcessClient(EngineClient):
    """Starts the worker, sends it requests, and reads what comes back in a thread of its own."""

    def __init__(self, make: EngineFactory, *, threads: int = 0) -> None:
        """make: a picklable function that loads the engine, called in the worker. Raises what it raises.

        threads  torch's, in the worker; 0 leaves the choice to torch
        """
        super().__init__()
        self._make, self._threads = make, threads
        self._gone = ""
        self._deaths: list[float] = []
        # What was changed since the start: adapters added (or removed: None), and the device. Another worker needs it.
        self._changes: dict[Adapter, Path | None] = {}
        self._device: str | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[int, Future[Any]] = {}
        self._sent: set[str] = set()  # requests that the worker has, or may have
        self._changed = threading.Condition(self._lock)  # another worker, or none for good
        worker = Worker(make, threads)
        self._info = worker.info
        self._workers = [worker]  # the one that runs, or none
        self._outbox: Outbox = queue.SimpleQueue()
        self._finalizer = weakref.finalize(self, _hang_up, self._workers, self._outbox, os.getpid())
        for target, given in ((_read, worker), (_write, self._outbox)):
            threading.Thread(target=target, args=(weakref.ref(self), given), name="phi4mm-worker", daemon=True).start()

    @property
    def info(self) -> EngineInfo:
        """See EngineClient. Those of the last worker while another one starts."""
        return self._info

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._workers[0].process.pid if self._workers else None

    def close(self) -> None:
        """See EngineClient."""
        self._check_process()
        with self._changed:
            self._gone = self._gone or CLOSED
            workers = self._workers[:]
            self._workers.clear()
            self._changed.notify_all()
        self._outbox.put(None)
        for worker in workers:
            worker.end()
        self._fail(self._gone)
        self._fail_calls(self._gone)

    def add_adapter(self, name: Adapter, folder: Path) -> None:
        """See EngineClient. The folder must stay: a worker that takes over reads it again."""
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
        if self._gone:
            raise EngineError(self._gone, request.id)
        self._outbox.put(request)

    def _send_abort(self, id: str) -> None:
        self._outbox.put(Abort(id))  # a finalizer may call this: it takes no lock that a sender holds

    def _call(self, method: str, *arguments: object) -> Any:
        self._check_process()
        number, result = next(self._numbers), Future[Any]()
        with self._lock:
            if self._gone:
                raise EngineError(self._gone)
            self._calls[number] = result
            self._outbox.put(Call(number, method, arguments))
        return result.result()

    def _write(self, message: EngineRequest | Abort | Call) -> None:
        """Send one message to the worker, or to the next one while there is none."""
        try:
            if isinstance(message, EngineRequest):
                self._write_request(message)
            elif isinstance(message, Call):
                self._running().transport.send(message)
            else:  # also of what the worker never had or has ended, which it ignores
                self._sent.discard(message.id)
                self._running().transport.send(message)
        except Unsendable as error:
            self._refuse(message, f"it could not be sent to the worker: {error}")
        except OSError:  # it died: what it ran is over, and what it was asked is not known
            self._refuse(message, "the worker process died as it was asked")
        except EngineError as error:  # there is no worker, and there will be none
            self._fail(error.message)
            self._fail_calls(error.message)

    def _refuse(self, message: EngineRequest | Abort | Call, reason: str) -> None:
        """Tell who waits for this message, and nobody else."""
        if isinstance(message, EngineRequest):
            self._sent.discard(message.id)
            self._fail(reason, {message.id})
        elif isinstance(message, Call) and (result := self._calls.pop(message.number, None)) is not None:
            result.set_exception(EngineError(reason))

    def _write_request(self, request: EngineRequest) -> None:
        while request.id in self._open:
            worker = self._running()
            self._sent.add(request.id)
            try:
                worker.transport.send(request)
            except OSError:
                self._sent.discard(request.id)
                worker.transport.close()  # whatever was half sent: its reader sees the end too
                self._wait_for_another(worker)
            else:
                return

    def _running(self, id: str = "") -> Worker:
        """The worker that runs; waits for one that starts. Raises EngineError when there will be none."""
        with self._changed:
            while not self._workers and not self._gone:
                self._changed.wait()
            if self._gone:
                raise EngineError(self._gone, id)
            return self._workers[0]

    def _wait_for_another(self, worker: Worker) -> None:
        with self._changed:
            while worker in self._workers:
                self._changed.wait()

    def _take(self, message: Result | Sequence[EngineOutput]) -> None:
        """What the worker sent."""
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

    def _died(self, worker: Worker) -> Worker | None:
        """End what the worker ran, and start another; None when the client was closed or it died too often."""
        with self._changed:
            if worker not in self._workers:
                return None
            self._workers.clear()
            self._changed.notify_all()
        reason = f"{worker.end()} before this request had ended"
        log.error("%s", reason)
        with self._lock:
            lost, self._sent = self._sent, set()
        self._fail(reason, lost)
        self._fail_calls(reason)
        try:
            another = self._restart()
        except Exception as error:
            with self._changed:
                self._gone = f"the worker process died and cannot be started again: {error}"
                self._changed.notify_all()
            self._fail(self._gone)
            return None
        with self._changed:
            if self._gone:
                another.end()
                return None
            self._info = another.info
            self._workers.append(another)
            self._changed.notify_all()
        return another

    def _restart(self) -> Worker:
        """Another worker that stands where the last one stood; a death while it loads is one more, and is tried again.

        raises  EngineError after too many deaths, and what making the engine raises
        """
        while True:
            now = time.monotonic()
            self._deaths = [death for death in self._deaths if now - death < RESTART_SECONDS] + [now]
            if len(self._deaths) > RESTARTS:
                raise EngineError(f"{len(self._deaths)} times within {RESTART_SECONDS:.0f} seconds")
            try:
                return self._started()
            except DiedLoading as error:
                log.error("%s", error)

    def _started(self) -> Worker:
        worker = Worker(self._make, self._threads)
        try:
            for name, folder in self._changes.items():
                if name in worker.info.adapters:
                    worker.ask("remove_adapter", name)
                if folder is not None:
                    self._reload(worker, name, folder)
            if self._device is not None:
                worker.ask("move", self._device)
        except (EOFError, OSError):
            raise DiedLoading(f"{worker.end()} while it was made ready") from None
        except BaseException:
            worker.end()
            raise
        return worker

    def _reload(self, worker: Worker, name: Adapter, folder: Path) -> None:
        """Give an adapter to the next worker; one whose folder is gone is missed by those alone who name it."""
        try:
            worker.ask("load_adapter", name, folder)
        except PhiError as error:
            log.error("adapter %s is lost with the worker that had it: %s", name, error)

    def _fail_calls(self, reason: str) -> None:
        while self._calls:
            _, future = self._calls.popitem()
            future.set_exception(EngineError(reason))


def _read(owner: weakref.ref[ProcessClient], worker: Worker | None) -> None:
    """Hand over what the worker sends, and what the next worker sends when one dies."""
    while worker is not None:
        try:
            message = worker.transport.receive()
            client = owner()
            if client is not None:
                client._take(message)
        except Exception as error:  # its end, or what cannot be read of it: nothing may wait for this worker any more
            if not isinstance(error, EOFError):
                log.exception("what the worker sent cannot be taken")
            client = owner()
            if client is None:
                worker.end()
                return
            worker = client._died(worker)
        client = None


def _write(owner: weakref.ref[ProcessClient], outbox: Outbox) -> None:
    """Send what is put there, until None comes or the owner is gone: nobody else waits for a socket."""
    while (message := outbox.get()) is not None and (client := owner()) is not None:
        client._write(message)
        del client


def _hang_up(workers: list[Worker], outbox: Outbox, pid: int) -> None:
    """A worker whose client is gone leaves by itself when its connection ends; a forked child only lets go of it."""
    outbox.put(None)
    for worker in workers:
        worker.transport.close(shut=os.getpid() == pid)

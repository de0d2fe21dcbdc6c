"""Runs the server: binds, loads the model while /health says 503, and drains when it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from phi4mm.config.engine import EngineArgs
from phi4mm.errors import ConfigError, EngineError, PhiError
from phi4mm.server.app import make_app
from phi4mm.server.connection import Connection
from phi4mm.server.keys import Keys
from phi4mm.server.service import Service
from phi4mm.server.settings import ServerSettings

log = logging.getLogger("phi4mm.server")
ALIVE_SECONDS = 0.5  # between two looks at the engine
POLL_SECONDS = 0.05  # between two looks at the running requests while draining
SWITCH_SECONDS = 0.0005  # the event loop gets the interpreter back from a thread after this, not after 5 ms
LAST_SECONDS = 1.0  # for cancelled requests to send their last event


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ConfigError where that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        used = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        hint = "another program listens there; choose another --port" if used else str(error)
        raise ConfigError(f"cannot listen on {host:.100} port {port}: {hint}") from None


def serve(folder: Path, name: str, settings: ServerSettings, engine_args: EngineArgs, listener: socket.socket) -> None:
    """Serve the checkpoint in `folder` until SIGTERM or SIGINT; clients ask for it by `name`.

    raises  what ended it: ConfigError, CheckpointError or another error where the model cannot be loaded, EngineError
            where its worker died too often
    """
    service, keys = Service(folder, name, settings, engine_args), Keys(settings)
    config = uvicorn.Config(
        make_app(service, keys),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=settings.ssl_certfile or None,
        ssl_keyfile=settings.ssl_keyfile or None,
        http=Connection,
        ws="none",
    )
    server = Server(config, service, keys)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        server.run(sockets=[listener])
    finally:
        service.close()
    if server.failure is not None:
        raise server.failure


class Server(uvicorn.Server):
    """A server that loads its model once it listens, and finishes what runs before it ends."""

    def __init__(self, config: uvicorn.Config, service: Service, keys: Keys) -> None:
        super().__init__(config)
        self._service, self._keys = service, keys
        self.failure: Exception | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin to load."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGHUP, self._read_keys)
        self._tasks.append(asyncio.create_task(self._load()))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins to drain, the second one ends at once."""
        if self._service.draining or not self.started:
            self.force_exit = self.should_exit = True
            return
        self._service.draining = True
        self._loop.call_soon_threadsafe(lambda: self._tasks.append(asyncio.ensure_future(self._drain())))

    def _read_keys(self) -> None:
        try:
            self._keys.read()
        except ConfigError as error:
            log.error("the keys stay as they are: %s", error)
        else:
            log.info("the keys were read again")

    async def _load(self) -> None:
        """Load the model, and end the server where that fails, or where the engine ends later."""
        try:
            await self._service.load()
            while self._service.state != "closed":
                await asyncio.sleep(ALIVE_SECONDS)
            raise EngineError("the engine has ended, as the log says; start the server again")
        except Exception as error:
            log.error("the server ends: %s", error, exc_info=not isinstance(error, PhiError))
            self.failure = error
            self.should_exit = True

    async def _drain(self) -> None:
        """Wait for running requests, then cancel them."""
        log.info("stopping: %d requests run", self._service.running)
        limit = self._service.settings.shutdown_timeout
        end = self._loop.time() + limit
        while self._service.running and self._loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        self._service.stopping.set()
        end = self._loop.time() + LAST_SECONDS
        while self._service.running and self._loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        self.should_exit = True
        await asyncio.to_thread(self._service.close)  # beside the end of the connections

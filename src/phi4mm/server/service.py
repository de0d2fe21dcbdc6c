"""What the routes share: the loaded model, the settings, and whether the server takes requests."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from phi4mm.config.engine import EngineArgs, EngineConfig
from phi4mm.engine.messages import EngineStats
from phi4mm.inference.load import load_model
from phi4mm.inference.model import Model
from phi4mm.server.errors import ApiError
from phi4mm.server.media_policy import MediaPolicy
from phi4mm.server.preparing import Preparer
from phi4mm.server.request_metrics import Metrics
from phi4mm.server.settings import ServerSettings

log = logging.getLogger("phi4mm.server")
RETRY_SECONDS = 5  # what a client is told to wait while the model loads or the server stops


class Service:
    """One server's state, for its event loop."""

    def __init__(self, folder: Path, name: str, settings: ServerSettings, engine_args: EngineArgs) -> None:
        """Check the settings of media before a model is loaded for minutes. Raises ConfigError."""
        self.name, self.settings = name, settings
        self._policy = MediaPolicy(
            allowed_domains=settings.allowed_media_domains,
            local_folder=Path(settings.allowed_local_media_path) if settings.allowed_local_media_path else None,
            max_items=settings.max_media_items,
            max_item_bytes=settings.max_media_bytes,
        )
        self._folder, self._engine_args = folder, engine_args
        self.started = int(time.time())
        self.stopping = asyncio.Event()  # what runs is cancelled
        self.draining = False  # what comes is refused
        self.running = 0  # requests
        self.metrics = Metrics(self.name)
        self._loaded: tuple[Model, Preparer] | None = None
        # Of their own: where the worker does not answer, other work still finds a thread.
        self._asks, self.scores = ThreadPoolExecutor(1, "phi4mm-stats"), ThreadPoolExecutor(2, "phi4mm-scores")

    async def load(self) -> None:
        """Load the model beside the event loop. Raises ConfigError, CheckpointError."""
        config = EngineConfig(
            self.settings.device,
            self.settings.dtype,
            quantize=self.settings.quantize or None,  # type: ignore[arg-type]  # EngineConfig checks it
            engine_args=self._engine_args,
        )
        load = partial(load_model, self._folder, config, adapters=self.settings.adapters, engine="process", kind=Model)
        loading: Future[Model] = Future()
        # Not in a pool, whose threads are waited for at exit: a server that is told to stop does not load to the end.
        threading.Thread(target=_finish, args=(load, loading), name="phi4mm-load", daemon=True).start()
        model = await asyncio.wrap_future(loading)
        processes, seconds = self.settings.media_processes, self.settings.media_timeout
        self._loaded = model, Preparer(model.processor, self._policy, processes=processes, seconds=seconds)
        log.info("%s is loaded: %s", self.name, "; ".join(model.settings.reasons))

    @property
    def state(self) -> str:
        """`loading`, `draining`, `closed` where the engine has ended by itself, or `ready`."""
        if self.draining:
            return "draining"
        if self._loaded is None:
            return "loading"
        return "closed" if self._loaded[0].closed else "ready"

    @property
    def model(self) -> Model:
        """The model. Raises ApiError while it loads."""
        return self._ready()[0]

    @property
    def preparer(self) -> Preparer:
        """What makes prompts. Raises ApiError while the model loads."""
        return self._ready()[1]

    async def stats(self) -> EngineStats:
        """The state of the engine. Waits while its worker is busy or stopped. Raises ApiError while the model loads."""
        return await asyncio.get_running_loop().run_in_executor(self._asks, self.model.stats)

    def close(self) -> None:
        """Stop the model's process and those that decode media. May be called twice."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            model, preparer = loaded
            preparer.close()
            model.close()
        self._asks.shutdown(wait=False)
        self.scores.shutdown(wait=False)

    def _ready(self) -> tuple[Model, Preparer]:
        if self._loaded is None:
            raise ApiError(503, "the model is loading; try again soon", code="loading", retry_after=RETRY_SECONDS)
        return self._loaded


def _finish(call: Callable[[], Model], result: Future[Model]) -> None:
    """Put the result of `call`, or its error, where it is waited for."""
    try:
        result.set_result(call())
    except BaseException as error:
        result.set_exception(error)

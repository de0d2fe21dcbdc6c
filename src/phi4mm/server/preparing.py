"""Prepares prompts beside the event loop: text in a thread, media in processes that may be killed."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from phi4mm.errors import CapacityError, EngineError
from phi4mm.processing.processor import Processor
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image, Message, Tool
from phi4mm.server.media_error import MediaError
from phi4mm.server.media_policy import MediaPolicy
from phi4mm.server.prompt_wire import WireError, receive_head, receive_prompt, send_bytes

START_SECONDS = 60.0  # until a process has loaded its processor
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")  # of the environment
# Blocks of up to 16 MB are kept by malloc: an image takes a third less time than with fresh pages each time.
_SET = {"MALLOC_MMAP_THRESHOLD_": str(2**24), "MALLOC_TRIM_THRESHOLD_": str(2**26)} | dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
log = logging.getLogger("phi4mm.server")


class Preparer:
    """Turns the messages of requests into prompts. Its processes start in the background at once.

    For use in one event loop. A caller that is cancelled gives its place back: its process is killed and replaced.
    """

    def __init__(
        self,
        processor: Processor,
        policy: MediaPolicy | None = None,
        *,
        processes: int = 2,
        max_waiting: int = 64,
        seconds: float = 30.0,
        memory: int = 2 * 2**30,
    ) -> None:
        """Start the processes.

        policy       which media are taken; None: inline data only
        processes    how many prompts with media are prepared at once
        max_waiting  how many more may wait
        seconds      for each prompt with media once it has a process, on the clock and of computing
        memory       bytes that one process may take
        """
        self._processor, self._policy = processor, policy or MediaPolicy()
        self._seconds, self._memory, self._most = seconds, memory, processes + max_waiting
        self._places = asyncio.Semaphore(processes)
        self._idle = [self._new_child() for _ in range(processes)]
        self._busy: set[Child] = set()
        self._requests = 0  # that have a process or wait for one
        self._closed = False

    async def chat(self, messages: Sequence[Message], tools: Sequence[Tool | Mapping[str, Any]] = ()) -> Prompt:
        """The prompt of a conversation.

        raises  InputError for messages and tools that can never work (MediaError where there are media: what is wrong
                is found beside them), CapacityError when too many wait, EngineError
        """
        if all(isinstance(part, str) for message in messages for part in message.parts):
            return await asyncio.to_thread(self._processor.chat, messages, tools)
        return await self._in_child("chat", await self._policy.resolve(messages), tools)

    async def raw(self, prompt: str, images: Sequence[Image] = (), audios: Sequence[Audio] = ()) -> Prompt:
        """A prompt in the published format, with its media in the order of their tags. Raises as `chat` does."""
        if not images and not audios:
            return await asyncio.to_thread(self._processor.prompt, prompt)
        (held,) = await self._policy.resolve([Message.user(*images, *audios)])
        return await self._in_child("prompt", prompt, held.parts[: len(images)], held.parts[len(images) :])

    @property
    def processes(self) -> tuple[int, ...]:
        """Ids of the processes that decode media."""
        return tuple(child.id for child in (*self._idle, *self._busy))

    def close(self) -> None:
        """Kill the processes; prompts that are being prepared fail."""
        self._closed = True
        for child in (*self._idle, *self._busy):
            child.kill()

    async def _in_child(self, method: str, *arguments: object) -> Prompt:
        if self._requests >= self._most:
            raise CapacityError(f"{self._requests} prompts with media are being prepared or wait; try again later")
        self._requests += 1
        try:
            async with self._places:
                reply = await self._ask(method, arguments)
        except (MediaError, EngineError):
            if self._closed:  # what ended its process
                raise _ending() from None
            raise
        finally:
            self._requests -= 1
        if isinstance(reply, MediaError):
            raise reply
        return reply

    async def _ask(self, method: str, arguments: tuple[object, ...]) -> Prompt | MediaError:
        """What a child answers, also where it refuses. One that gives no answer is killed and replaced."""
        if self._closed:
            raise _ending()
        child = self._take()
        self._busy.add(child)
        answered = False
        try:
            await child.started()
            async with asyncio.timeout(self._seconds):
                reply = await child.ask(method, arguments)
            answered = True
            return reply
        except TimeoutError:
            raise MediaError(
                f"the media of the request took more than {self._seconds:g} seconds to decode; send less", 413
            ) from None
        except (EOFError, OSError, WireError) as error:
            log.warning("a process that decodes media ended in a request (%s)", type(error).__name__)
            raise MediaError(
                "the media of the request cannot be decoded: they are damaged, or take too much memory or time"
            ) from None
        finally:
            self._busy.discard(child)
            if answered:
                self._idle.append(child)
            else:
                child.kill()
                if not self._closed:
                    self._idle.append(self._new_child())

    def _take(self) -> Child:
        """An idle child, or a new one where some ended while they were idle, or could not be started again."""
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            child.kill()
        return self._new_child()

    def _new_child(self) -> Child:
        return Child(self._processor, self._memory, math.ceil(self._seconds))


class Child:
    """One process that prepares prompts, and the thread that speaks with it."""

    def __init__(self, processor: Processor, memory: int, seconds: int) -> None:
        """Start it; it loads the processor meanwhile."""
        here, there = socket.socketpair()
        program = [sys.executable, "-P", "-m", "phi4mm.server.decoding", str(there.fileno()), str(memory), str(seconds)]
        with there:
            self._process = subprocess.Popen(
                program,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the server
            )
        self._end, self._ended = here, False
        self._vocabulary = processor.tokenizer.size
        self._thread = ThreadPoolExecutor(1, "phi4mm-decoding")
        self._ready = self._thread.submit(self._load, processor)

    @property
    def id(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    async def started(self) -> None:
        """Wait until it can be asked. Raises EngineError if that fails or takes longer than START_SECONDS."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._ready), START_SECONDS)
        except (EOFError, OSError, WireError):
            raise EngineError("the process that decodes media does not start") from None

    async def ask(self, method: str, arguments: tuple[object, ...]) -> Prompt | MediaError:
        """What a method of the processor returns there, or why it refuses.

        raises  EOFError, OSError or WireError when the process ends or answers wrongly, EngineError for a fault in it
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, method, arguments)

    def kill(self) -> None:
        """End the process, if it has not; whoever waits for an answer gets an EOFError."""
        self._process.kill()
        if not self._ended:
            self._ended = True
            self._thread.submit(self._reap)
            self._thread.shutdown(wait=False)

    def _load(self, processor: Processor) -> None:
        send_bytes(self._end, pickle.dumps(processor))
        if receive_head(self._end) != {"ready": True}:
            raise WireError("not ready")

    def _ask(self, method: str, arguments: tuple[object, ...]) -> Prompt | MediaError:
        send_bytes(self._end, pickle.dumps((method, arguments)))
        match head := receive_head(self._end):
            case {"refused": str(reason)}:
                return MediaError(reason)
            case {"fault": str(trace)}:
                log.error("preparing a prompt failed: %r", trace)
                raise EngineError("a prompt could not be prepared")
        return receive_prompt(self._end, head, self._vocabulary)

    def _reap(self) -> None:
        self._process.wait()
        self._end.close()


def _ending() -> CapacityError:
    return CapacityError("the server is ending; send the request again later")


def _environment() -> dict[str, str]:
    """What the process needs to find its modules, and none of the server's secrets."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | _SET | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

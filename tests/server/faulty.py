"""A processor that does in its process what a decoder with a fault could do, as the text of the message says."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from phi4mm.processing.tokenizer import Tokenizer
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Message


@dataclass(frozen=True)
class Faulty:
    """In place of a Processor. Messages are `(word, Image(b"x"))`."""

    tokenizer: Tokenizer

    def chat(self, messages: Sequence[Message], tools: object) -> Prompt:
        """What the word says; ids of it when it says nothing."""
        word = str(messages[0].parts[0])
        match word.split():
            case ["sleep"]:
                time.sleep(60)
            case ["spin"]:
                while True:
                    pass
            case ["crash"]:
                os.kill(os.getpid(), signal.SIGSEGV)
            case ["exit"]:
                os._exit(0)
            case ["allocate"]:
                bytearray(3 * 2**30)
            case ["fault"]:
                raise KeyError("at 0x7f0000000000 in /secret")
            case ["write"]:
                with tempfile.TemporaryFile() as file:
                    file.write(b"x")
            case ["environment", name]:
                return Prompt((int(name in os.environ),))
            case ["forge"]:
                end = next(
                    socket.socket(fileno=os.dup(fd)) for fd in map(int, os.listdir("/proc/self/fd")) if _is_socket(fd)
                )
                end.sendall(b"\xff" * 4_000)
        return Prompt(tuple(word.encode()))


@dataclass(frozen=True)
class Unloadable(Faulty):
    """Cannot be loaded in another process."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def _is_socket(descriptor: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    except OSError:
        return False

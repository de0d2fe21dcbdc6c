"""The program of a process that prepares prompts with media, in which the decoders' faults do no harm to the server.

It is started as `python -m phi4mm.server.decoding DESCRIPTOR MEMORY SECONDS` and ends when its socket is closed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import socket
import sys
import traceback
from pathlib import Path

from phi4mm.errors import InputError
from phi4mm.processing.processor import Processor
from phi4mm.server.prompt_wire import receive_bytes, send_head, send_prompt

MAX_REQUEST = 2**41  # bytes; the server has checked them


def serve(end: socket.socket, memory: int, seconds: int) -> None:
    """Prepare one prompt after the other until the other end is closed.

    memory   bytes that the address space may grow by after the processor is loaded
    seconds  of computing, for each prompt
    """
    # What the server sends is its own pickle; what goes back is none.
    processor: Processor = pickle.loads(receive_bytes(end, MAX_REQUEST))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)  # it writes no files
    _limit(resource.RLIMIT_AS, _address_space() + memory)
    # Why it does not start may be told; later the decoders' own libraries would repeat what is in a file.
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    send_head(end, ready=True)
    while True:
        method, arguments = pickle.loads(receive_bytes(end, MAX_REQUEST))
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds + 1, soft=True)
        try:
            prompt = getattr(processor, method)(*arguments)
        except InputError as error:
            send_head(end, refused=str(error))
        except MemoryError:
            send_head(end, refused="the media take too much memory to decode; send smaller ones")
        except Exception:
            send_head(end, fault=traceback.format_exc(limit=-5)[-2000:])
        else:
            send_prompt(end, prompt)


def _limit(kind: int, value: int, *, soft: bool = False) -> None:
    """Lower a limit of this process for good, or with `soft` so that it can be raised again."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard if soft else value))


def _address_space() -> int:
    """Bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def main() -> None:
    """Serve on the socket whose descriptor is the first argument."""
    descriptor, memory, seconds = map(int, sys.argv[1:4])
    # When the server is gone, there is nothing left to do.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(socket.socket(fileno=descriptor), memory, seconds)


if __name__ == "__main__":
    main()

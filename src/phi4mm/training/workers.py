"""Processes that make data beside the one that trains. No torch: a worker starts as fast as what it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def worker_pool(workers: int, initializer: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes, already started, end with the block: after their work, or at once if it is left early.

    They do not see Ctrl-C, which a terminal sends to every process: who uses them leaves, and they end in silence.
    initializer  called in each process before its first job
    """
    before = {child.pid for child in active_children()}
    # Spawned, not forked: a fork of a process whose threads compute can hang at its first tensor.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer)
    try:
        _start_without_interrupts(pool, workers)
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            if child.pid not in before:
                child.terminate()
        raise
    pool.shutdown()


def _start_without_interrupts(pool: ProcessPoolExecutor, workers: int) -> None:
    """Start every process of the pool; each inherits that SIGINT is blocked, also while it still imports."""
    blockable = hasattr(signal, "pthread_sigmask")  # not on Windows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blockable else set()
    try:
        for _ in range(workers):
            pool.submit(os.getpid)
    finally:
        if blockable:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Processes that make data while another one trains. Imports no torch, so that workers start fast."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def worker_pool(workers: int, initializer: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of started processes that ends with the block: after all jobs are done, or at once on an exception.

    The workers ignore Ctrl-C, which a terminal sends to every process; the process that owns the pool ends them.

    initializer  called in each process before its first job
    """
    before = {child.pid for child in active_children()}
    # Spawned, not forked: a fork of a process with torch's threads running can hang at its first tensor operation.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer)
    try:
        _start_without_interrupts(pool, workers)
        yield pool
    except BaseException:
        # No job is cancelled: in the thread of the pool, which then finds its processes gone, that is an error.
        pool.shutdown(wait=False)
        for child in active_children():
            if child.pid not in before:
                child.terminate()
        raise
    pool.shutdown()


def _start_without_interrupts(pool: ProcessPoolExecutor, workers: int) -> None:
    """Start every process of the pool with SIGINT blocked from its first instruction, inherited from this process."""
    blockable = hasattr(signal, "pthread_sigmask")  # not on Windows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blockable else set()
    try:
        for _ in range(workers):
            pool.submit(os.getpid)
    finally:
        if blockable:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""The pool of worker processes must end at once and without tracebacks when a training is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
from phi4mm.training.workers import worker_pool

def sleep(seconds):
    time.sleep(seconds)

if __name__ == "__main__":
    try:
        with worker_pool(2) as pool:
            jobs = [pool.submit(sleep, 60) for _ in range(6)]
            print("working", flush=True)
            jobs[0].result()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="process groups and signals of POSIX")
@pytest.mark.parametrize(
    "whole_group", [True, False], ids=["all processes, as a terminal does", "the main process alone"]
)
def test_an_interrupt_ends_every_process_at_once_without_output_of_the_workers(
    tmp_path: Path, whole_group: bool
) -> None:
    """Prevents waiting half a minute for jobs that are no longer needed, and a traceback from each worker."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=-1, stderr=-1, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    started = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    # The workers inherit the pipes, so the end of both means that all workers have ended.
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
    assert time.monotonic() - started < 10

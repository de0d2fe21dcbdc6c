"""A short soak test in every run of the tests; bench/soak.py runs the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"


@pytest.mark.parametrize(("kv_cache_dtype", "requests"), [("auto", 100), ("int8", 50)])
def test_random_requests_leave_nothing_behind(kv_cache_dtype: str, requests: int) -> None:
    """Aborts, preemption and evictions in one engine must not leak pages or leave a request that never ends."""
    done = subprocess.run(
        [sys.executable, str(SOAK), "--requests", str(requests), "--seed", "1", "--kv-cache-dtype", kv_cache_dtype],
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
        timeout=120,
        check=False,
    )
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["wrong"] == []
    assert done.returncode == 0
    assert sum(record["ended"].values()) == requests
    assert record["preemptions"] > 0
    assert record["ended"]["abort"] > 0

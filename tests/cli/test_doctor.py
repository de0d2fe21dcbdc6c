from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import phi4mm
from phi4mm.cli import doctor
from phi4mm.cli.main import main
from phi4mm.diagnostics.benchmark import kernels_here


def test_the_report_is_one_json_object_about_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Bug reports carry it; each fact is compared with what Python itself says here."""
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["versions", "cpu", "cuda", "memory", "codecs", "chosen"]
    assert report["versions"]["phi4mm"] == phi4mm.__version__
    assert report["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert report["cpu"]["threads"] == torch.get_num_threads()
    assert report["cpu"]["kernels"] == kernels_here()
    assert len(report["cuda"]) == torch.cuda.device_count()
    assert 0 < report["memory"]["free"] <= report["memory"]["total"]
    assert {"FLAC", "WAV"} <= set(report["codecs"]["recordings"])
    assert {"JPEG", "PNG", "WEBP", "TIFF"} <= set(report["codecs"]["pictures"])


def test_what_would_be_chosen_comes_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """A dtype that nobody explains is changed by guessing."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert f"device {device}: " in out
    assert "published" in out.split("chosen")[1]
    assert "GiB" in out


def test_a_container_s_limit_counts_as_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's memory is of no use to a process that is killed at its container's limit."""
    files = {
        "/proc/meminfo": "MemTotal: 64000 kB\nMemAvailable:   50000 kB\n",
        "/sys/fs/cgroup/memory.max": "10240000\n",
        "/sys/fs/cgroup/memory.current": "240000\n",
    }
    monkeypatch.setattr(doctor, "_read", lambda path: files[str(path)])
    assert doctor.memory() == {"free": 10_000_000, "total": 10_240_000}
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert doctor.memory()["free"] == 50_000 * 1024


def test_cpu_features_are_read_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMX decides whether bfloat16 is fast on a CPU; "avx2" must not match "avx2_other"."""
    monkeypatch.setattr(
        doctor, "_read", lambda path: "model name\t: Fast\nflags\t\t: fpu avx2_other amx_bf16 avx512f\n"
    )
    assert doctor.cpu()["name"] == "Fast"
    assert doctor.cpu()["features"] == ["avx512f", "amx_bf16"]
    monkeypatch.setattr(doctor, "_read", lambda path: "")
    assert doctor.cpu()["features"] == []


def test_files_of_other_systems_may_be_missing() -> None:
    """macOS has no /proc."""
    assert doctor._read(Path("/no/such/file")) == ""


def test_the_text_report_says_none_where_there_is_nothing() -> None:
    """An empty section would look like a bug of the report."""
    text = doctor.as_text({"cuda": {}, "cpu": {"features": []}, "memory": {"free": 3 * 2**29}})
    assert text.splitlines() == ["cuda: none", "cpu", "  features: none", "memory", "  free: 1.5 GiB"]

from __future__ import annotations

import json

import pytest
import torch

import phi4mm
from phi4mm.cli import doctor
from phi4mm.cli.main import main
from phi4mm.diagnostics.hardware import kernels


def test_the_report_is_one_json_object_about_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """It is part of bug reports; each fact is compared with what Python reports on this machine."""
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    sections = ["versions", "cpu", "cuda", "memory", "codecs", "extras", "folders", "chosen", "published", "next"]
    assert list(report) == sections
    assert report["versions"]["phi4mm"] == phi4mm.__version__
    assert report["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert report["cpu"]["threads"] == torch.get_num_threads()
    assert report["cpu"]["kernels"] == kernels()
    assert len(report["cuda"]) == torch.cuda.device_count()
    assert 0 < report["memory"]["free"] <= report["memory"]["total"]
    assert {"FLAC", "WAV"} <= set(report["codecs"]["audio clips"])
    assert {"JPEG", "PNG", "WEBP", "TIFF"} <= set(report["codecs"]["images"])


def test_the_chosen_settings_come_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """Users change a dtype blindly if no reason is given for it."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert f"device {device}: " in out
    assert "published" in out.split("chosen")[1]
    assert "GiB" in out


def test_case_c_the_report_ends_in_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer asks one thing: does the published model fit here, and what do I type?"""
    assert main(["doctor"]) == 0
    *_, reason, command = capsys.readouterr().out.splitlines()
    assert reason.startswith("  reason: the published ")
    assert command.startswith("  command: phi4mm run ")


def test_the_text_report_says_none_for_an_empty_section() -> None:
    """An empty section would look like a bug of the report."""
    text = doctor.as_text({"cuda": {}, "cpu": {"features": []}, "memory": {"free": 3 * 2**29}})
    assert text.splitlines() == ["cuda: none", "cpu", "  features: none", "memory", "  free: 1.5 GiB"]

"""Whether the published model fits, and the command that `phi4mm doctor` ends in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from phi4mm import machine
from phi4mm.checkpoint import hub
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.config.original import from_original
from phi4mm.diagnostics import fit, hardware
from phi4mm.diagnostics.fit import PUBLISHED, Fit
from phi4mm.diagnostics.footprint import kv_cache_bytes, weight_bytes
from phi4mm.machine import Memory

GOLDEN = Path(__file__).parents[1] / "golden"
GIB = 2**30
ROOMY = Fit({"bfloat16": 12 * GIB, "int8": 7 * GIB, "int4": 5 * GIB}, 20 * GIB, False, "absent", 50 * GIB)


def test_the_sizes_are_those_of_the_published_configuration() -> None:
    """A figure that is typed off would tell people to buy memory."""
    config = from_original(json.loads((GOLDEN / "published.json").read_text()))
    sizes = weight_bytes(config)
    assert {form: sizes[form] for form in fit.WEIGHT_BYTES} == fit.WEIGHT_BYTES
    assert kv_cache_bytes(config.text)["bfloat16"] == fit.CACHE_TOKEN_BYTES


@pytest.mark.parametrize(
    ("found", "command", "reason"),
    [
        (
            ROOMY,
            f"phi4mm run {PUBLISHED} --quantize int4",
            "in int4, which a CPU answers in fastest: it reads the fewest bytes of weights; it downloads up to",
        ),
        (replace(ROOMY, on_cuda=True, weights="complete"), f'phi4mm run {PUBLISHED} "Hello."', "fits in bfloat16"),
        (
            replace(ROOMY, on_cuda=True, free=8 * GIB),
            f"phi4mm run {PUBLISHED} --quantize int8",
            "fits in int8, the most exact form with room",
        ),
        (replace(ROOMY, free=5 * GIB), f"phi4mm run {PUBLISHED} --quantize int4", "fits in int4"),
        (replace(ROOMY, free=4 * GIB), "phi4mm run nano", "needs 5.0 GiB of free memory, and there are 4.0 GiB"),
        (replace(ROOMY, disk=9 * GIB), "phi4mm run nano", "take 10.4 GiB on the disk of the hub cache, and 9.0 GiB"),
        (replace(ROOMY, disk=GIB, weights="complete"), f"phi4mm run {PUBLISHED} --quantize int4", "fits in int4"),
        (replace(ROOMY, disk=GIB, weights="incomplete"), f"phi4mm run {PUBLISHED} --quantize int4", "up to 10.4 GiB"),
    ],
)
def test_case_c_the_next_command_is_one_that_works_here(found: Fit, command: str, reason: str) -> None:
    """It is what a newcomer types without a thought: it must not end in a full disk, or in no memory."""
    assert found.next_command()[0].startswith(command)
    assert reason in found.next_command()[1]


def test_the_weights_are_looked_for_in_the_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, some and all of them; the folder of the cache need not exist yet, and nothing is fetched."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(machine, "memory", lambda: Memory(6 * GIB, 9 * GIB))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    found = fit.published_fit()
    assert (found.weights, found.fits, found.on_cuda) == ("absent", ["int4"], False)
    assert found.disk > 0
    assert hardware.folders()["hub cache"] == str(tmp_path / "hub")
    model = tmp_path / "hub" / "models--microsoft--Phi-4-multimodal-instruct"
    snapshot = model / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0" * 40)
    write_synthetic(json.loads((GOLDEN / "tiny.json").read_text()), snapshot)
    assert hub.cached(PUBLISHED) == snapshot
    assert fit.published_fit().weights == "complete"
    next(snapshot.glob("*.safetensors")).unlink()
    assert fit.published_fit().weights == "incomplete"


def test_a_cuda_device_is_what_the_model_must_fit_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Main memory is no help there."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((3 + 6 * index) * GIB, 10 * GIB))
    found = fit.published_fit()
    assert (found.fits, found.on_cuda) == (["int8", "int4"], True)


def test_case_c_every_extra_is_reported_with_what_it_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of pyproject.toml that a user may want, present or with the command that installs them."""
    monkeypatch.setattr(hardware, "_installed", lambda module: module == "av")
    assert hardware.extras() == {
        "media": "audio of M4A, MP4, MOV, WebM, Matroska and MP2",
        "structured": "missing: answers by JSON schema, regular expression or choice; pip install 'phi4mm[structured]'",
        "eval": "missing: BLEU for `phi4mm eval nano`; pip install 'phi4mm[eval]'",
        "train": "missing: speech for `phi4mm train nano`; pip install 'phi4mm[train]'",
    }


def test_case_c_the_report_names_quota_compiler_and_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a reason for slow answers."""
    monkeypatch.setattr(machine, "cpu_quota", lambda root=None: 1.5)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert hardware.cpu()["quota"] == 1.5
    assert hardware.cpu()["compiler"] == "none: install gcc or clang"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "relative")
    assert hardware.folders()["kernels"].startswith("none: the home folder ")

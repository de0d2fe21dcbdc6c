"""Comparison with the recorded numbers of the published implementation, by the code of `phi4mm verify`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file

from phi4mm.checkpoint.hub import resolve
from phi4mm.checkpoint.load import load_model
from phi4mm.cli.main import main
from phi4mm.diagnostics.verify import Checker, read_golden, verify, verify_folder
from phi4mm.errors import InputError
from phi4mm.model.phi4mm import Phi4MM

GOLDEN = Path(__file__).parent


@pytest.mark.parametrize("name", ["tiny", "tiny_rope96"])
def test_every_key_of_the_golden_files_is_within_its_bound(name: str, request: pytest.FixtureRequest) -> None:
    """A wrong separator, projection, adapter, mel bin or rotary table changes at least one of these numbers."""
    model: Phi4MM = request.getfixturevalue("tiny" if name == "tiny" else "rope96")
    golden = read_golden(GOLDEN / f"golden_{name}.npz")
    groups = list(verify(model, golden))
    failed = [(group.name, finding) for group in groups for finding in group.findings if not finding.ok]
    assert failed == []
    assert sum(len(group.findings) for group in groups) == len(golden)


def _reduced(tmp_path: Path) -> Path:
    """Three quick groups of the rope96 file."""
    golden = read_golden(GOLDEN / "golden_tiny_rope96.npz")
    kept = {k: v for k, v in golden.items() if k.startswith(("run.cross_text", "long.96", "long.97"))}
    np.savez(tmp_path / "golden.npz", allow_pickle=False, **kept)
    return tmp_path / "golden.npz"


def test_verify_prints_a_line_per_group_and_exits_0_when_all_are_within_bounds(
    rope96_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users read the lines and scripts the exit code."""
    assert main(["verify", str(rope96_folder), "--golden", str(_reduced(tmp_path))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", "run.cross_text"], ["ok", "long.96"], ["ok", "long.97"]]


def test_verify_exits_1_and_names_the_group_when_a_weight_is_off(
    rope96_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A norm weight that is off by 1 % must be found."""
    broken = tmp_path / "broken"
    broken.mkdir()
    tensors = load_file(rope96_folder / "model.safetensors")
    tensors["model.layers.1.input_layernorm.weight"] *= 1.01
    save_file(tensors, broken / "model.safetensors")
    (broken / "config.json").write_text((rope96_folder / "config.json").read_text())
    assert main(["verify", str(broken), "--golden", str(_reduced(tmp_path)), "--json"]) == 1
    groups = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert not any(group["ok"] for group in groups)


def test_an_unknown_key_is_refused(rope96: Phi4MM) -> None:
    """A key that is not computed would otherwise count as checked."""
    with pytest.raises(InputError, match="is unknown"):
        list(verify(rope96, {"video.10.frames": np.zeros(3)}))
    with pytest.raises(InputError, match=r"long\.96 has keys that phi4mm cannot compute: first4"):
        list(verify(rope96, {"long.96.first4": np.zeros(3)}))


def test_a_golden_file_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    """A pickle in an npz runs code when it is opened."""
    with_objects = {"long.96.argmax": np.array([{"a": 1}], dtype=object)}
    np.savez(tmp_path / "bad.npz", allow_pickle=True, **with_objects)
    with pytest.raises(
        InputError, match=r"bad.npz is not a golden file: it is damaged, or holds more than plain arrays$"
    ):
        read_golden(tmp_path / "bad.npz")


def test_case_c_the_error_of_another_file_gives_no_advice_to_unpickle_it() -> None:
    """NumPy's own text says how to load it unsafely."""
    with pytest.raises(
        InputError, match=r"tiny.json is not a golden file: it is no .npz; expected one as in tests/golden"
    ):
        read_golden(GOLDEN / "tiny.json")


def test_a_recorded_value_of_another_shape_is_an_error(rope96: Phi4MM) -> None:
    """Broadcasting must not make a wrong shape a small difference."""
    finding = Checker(rope96).check("long.96", {"argmax": np.zeros(3, dtype=np.int32)})[0]
    assert not finding.ok


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("name", ["tiny", "tiny_rope96"])
def test_case_b7_a_golden_file_of_other_sizes_is_refused_before_anything_runs(
    name: str, quantized: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Token ids that nano does not have ended in an IndexError after 31 groups had been computed."""
    folder = resolve("nano")
    if quantized:
        assert main(["quantize", "nano", str(folder := tmp_path / "int8"), "--bits", "8"]) == 0
        capsys.readouterr()
    assert main(["verify", str(folder), "--golden", str(GOLDEN / f"golden_{name}.npz")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "recorded for other sizes" in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "recorded", "sizes"),
    [
        ("image.1x1.shape", np.array([2, 3, 448, 448]), ("448", "224")),
        ("tower.image.448x448", np.zeros((545, 64), np.float32), ("64", "192")),
        ("long.96.argmax", np.zeros(4, np.int32), ("200021", "1024")),
        ("run.text.logits_last", np.zeros(3280, np.float32), ("3280", "17")),
        ("long.96.last4", np.zeros((4, 3280), np.float32), ("3280", "17")),
    ],
)
def test_case_b7_both_sizes_are_named(key: str, recorded: npt.NDArray[Any], sizes: tuple[str, str]) -> None:
    """The reader must see which of the two files is the wrong one."""
    with pytest.raises(InputError, match=rf"{re.escape(key)} is for .*\b{sizes[0]}\b.* has {sizes[1]};"):
        next(verify_folder(resolve("nano"), {key: recorded}, device="cpu"))


@pytest.mark.gpu
def test_golden_numbers_hold_on_a_gpu(rope96_folder: Path) -> None:
    """The same bounds in float32 with the GPU's own kernels."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; none is here")
    model = load_model(rope96_folder, device="cuda", dtype=torch.float32)
    for group in verify(model, read_golden(GOLDEN / "golden_tiny_rope96.npz")):
        assert group.ok, group

"""`inspect` and `convert` on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from phi4mm.checkpoint.contents import skeleton
from phi4mm.checkpoint.save import write_checkpoint
from phi4mm.checkpoint.shards import TensorSource
from phi4mm.checkpoint.synthetic import write_synthetic
from phi4mm.cli.main import main
from phi4mm.config.original import from_original

GOLDEN = Path(__file__).parents[1] / "golden"


def write_empty(folder: Path, config: dict[str, object]) -> None:
    """A bfloat16 checkpoint with valid headers and no data: sparse files, which take no room on the disk."""
    parsed = from_original(config)

    def source(shape: tuple[int, ...]) -> TensorSource:
        def write(file: BinaryIO) -> None:
            file.seek(tensor.nbytes - 1, 1)
            file.write(b"\0")

        tensor = TensorSource(torch.bfloat16, shape, write)
        return tensor

    tensors = {name: source(tuple(value.shape)) for name, value in skeleton(parsed).state_dict().items()}
    write_checkpoint(parsed, tensors, folder, form="original")


def small(folder: Path) -> Path:
    """A checkpoint of every part in a few hundred kilobytes."""
    config = json.loads((GOLDEN / "tiny.json").read_text()) | {"vocab_size": 300}
    write_synthetic(config, folder)
    return folder


def test_published_sizes_are_reported_part_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of the published checkpoint must be exact, and its shards must be three."""
    write_empty(tmp_path / "model", json.loads((GOLDEN / "published.json").read_text()))
    assert main(["inspect", str(tmp_path / "model"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parameters"] == 5_574_460_224
    assert report["buffer_elements"] == 160
    assert report["tensors"] == 2047
    assert {part: facts["parameters"] for part, facts in report["parts"].items()} == {
        "text": 3_836_021_760,
        "vision adapter": 369_098_752,
        "speech adapter": 461_373_440,
        "image tower": 428_565_440,
        "image projection": 12_982_272 + 2_304,
        "audio encoder": 441_238_304 - 160,
        "audio projections": 25_178_112,
    }
    assert report["bytes"] == 11_148_920_768
    assert report["unused_parameters"] == 30_480_160
    assert report["memory"] == {
        "weights": {
            "float32": 22_297_841_536,
            "bfloat16": 11_148_920_768,
            "int8": 5_856_888_000,
            "int4": 3_523_740_864,
        },
        "cache_per_token": {"float32": 262_144, "bfloat16": 131_072, "int8": 67_584},
    }
    assert [name for name in report["files"] if name.endswith(".safetensors")] == [
        f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)
    ]


def test_the_text_report_names_tensors_that_are_never_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text must show parts, sizes, unused tensors and the facts of training.json."""
    folder = small(tmp_path / "model")
    training = {
        "seed": 7,
        "scores": {"rows": {"sign": {"unit": "right", "value": 0.5, "interval": [0.4, 0.6]}}},
        "limits": ["English only", "drawn images"],
    }
    (folder / "training.json").write_text(json.dumps(training))
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "original layout, 211 tensors, float32" in out
    assert "model.embed_tokens_extend.image_embed.img_processor.head.probe" in out
    assert "img_processor.encoder.layers.1." not in out
    assert "total                     468,640       1,875,200" in out
    assert out.index("\nfiles") < out.index("\ntraining") < out.index("\nnever read: ")
    for line in (
        "  seed: 7",
        "      sign: unit right, value 0.5, interval 0.4; 0.6",
        "  limits: English only; drawn images",
    ):
        assert line in out.splitlines()


def test_the_text_report_plans_memory_up_to_the_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Users must see what a quantization or a long prompt takes before they run out of memory."""
    write_empty(tmp_path / "model", json.loads((GOLDEN / "published.json").read_text()))
    assert main(["inspect", str(tmp_path / "model")]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("memory"))
    assert lines[head].split()[:8] == ["memory", "weights", "4k", "bfloat16", "4k", "int8", "32k", "bfloat16"]
    rows = {line.split()[0]: line.split() for line in lines[head + 1 : head + 5]}
    assert rows["int4"][1::2] == ["3.28", "3.78", "3.54", "7.28", "5.34", "19.28", "11.53"]
    assert rows["bfloat16"][1:3] == ["10.38", "GiB"]


def test_quantize_writes_a_folder_that_inspect_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists what it wrote and overwrites nothing; `inspect` counts parameters, not packed codes."""
    folder, out = small(tmp_path / "model"), tmp_path / "out"
    assert main(["inspect", str(folder), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main(["quantize", str(folder), str(out), "--bits", "4", "--json"]) == 0
    captured = capsys.readouterr()
    written = json.loads(captured.out)
    assert captured.err == "", "progress is for terminals"
    assert (written["folder"], written["scheme"]) == (str(out), "int4")
    assert written["files"]["model.safetensors"] == (out / "model.safetensors").stat().st_size
    assert main(["inspect", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["quantization"] == "int4"
    assert plain["quantization"] is None
    for same in ("parameters", "buffer_elements", "unused_parameters", "memory"):
        assert report[same] == plain[same], same
    assert report["bytes"] < plain["bytes"] / 2
    assert main(["inspect", str(out)]) == 0
    assert "quantized in int4, " in capsys.readouterr().out
    assert main(["quantize", str(folder), str(out), "--bits", "8"]) == 1
    assert "is there already and not empty" in capsys.readouterr().err
    assert main(["convert", str(out), str(tmp_path / "again"), "--layout", "original"]) == 1
    assert "is quantized in int4, which cannot be converted" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["quantize", str(folder), str(out), "--bits", "2"])


def test_quantize_shows_its_progress_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large checkpoint takes minutes."""
    folder = small(tmp_path / "model")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["quantize", str(folder), str(tmp_path / "out"), "--bits", "8"]) == 0
    captured = capsys.readouterr()
    lines = captured.err.split("\r")
    assert lines[1].startswith("1 of ")
    done, _, total, _ = lines[-1].split()
    assert done == total
    assert captured.out.startswith(f"{tmp_path / 'out'}: int8\n")


def test_convert_lists_what_it_wrote_and_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Users must see which files were written; an existing folder is not overwritten."""
    folder, out = small(tmp_path / "model"), tmp_path / "out"
    assert main(["convert", str(folder), str(out), "--layout", "adapters", "--dtype", "bfloat16", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["files"]["vision-lora/adapter_model.safetensors"] == (
        (out / "vision-lora" / "adapter_model.safetensors").stat().st_size
    )
    assert main(["convert", str(folder), str(out), "--layout", "original"]) == 1
    assert "is there already and not empty" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["convert", str(folder), str(out)])

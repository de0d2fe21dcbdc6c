from __future__ import annotations

import json

import pytest

from phi4mm.cli.main import main
from phi4mm.diagnostics import ceilings
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineRequest
from phi4mm.engine.request import Request
from phi4mm.protocol.inputs import Prompt

DOCUMENTED = (
    *("decode_tok_s", "decode_ceiling_fraction", "prefill_tok_s", "prefill_ceiling_fraction", "image_first_token_s"),
    *("audio_first_token_s", "load_s", "resident_gb", "threads", "quantize"),
)
SMALL = ["--turns", "1", "--prompt", "16", "--tokens", "3"]


@pytest.fixture(autouse=True)
def _small_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a gigabyte to measure the ceilings takes too long for a test."""
    monkeypatch.setattr(ceilings, "READ_BYTES", 2**22)
    monkeypatch.setattr(ceilings, "PRODUCT", (16, 64, 64))


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Every prompt that reaches the engine."""
    added: list[Prompt] = []
    add = Engine.add

    def recording_add(self: Engine, request: EngineRequest) -> tuple[Request, ...]:
        added.append(request.prompt)
        return add(self, request)

    monkeypatch.setattr(Engine, "add", recording_add)
    return added


def test_the_json_line_has_all_documented_keys_and_consistent_fractions(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read these keys, and each fraction must belong to the ceiling that is printed with it."""
    assert main(["bench", "nano", "--json", "--concurrent", "5", *SMALL]) == 0
    out, table = capsys.readouterr()
    (line,) = out.splitlines()
    record = json.loads(line)
    assert set(DOCUMENTED) <= set(record)
    assert record["quantize"] is None
    assert min(value for name, value in record.items() if isinstance(value, float)) > 0
    read = record["ceilings"]["read_gb_s"]
    for name in ("decode", "decode_vision", "decode_speech"):
        fraction = record[f"{name}_tok_s"] * record[f"{name}_gb"] / read
        assert record[f"{name}_ceiling_fraction"] == pytest.approx(fraction)
    assert record["concurrent_ratio"] == pytest.approx(record["concurrent_tok_s"] / record["one_at_a_time_tok_s"])
    assert f"{record['prefill_tok_s']:.2f} tok/s" in table


def test_without_json_the_table_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A report that is piped into a file must be in that file."""
    assert main(["bench", "nano", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert "decode, text" in out
    assert "to the first token" in out
    assert "mixed requests" not in out
    assert err == ""


def test_no_prompt_is_used_twice(prompts: list[Prompt]) -> None:
    """The engine caches prompts and images: a repeated one would measure the caches, not the model."""
    assert main(["bench", "nano", "--concurrent", "5", "--turns", "2", "--prompt", "32", "--tokens", "2"]) == 0
    beginnings = [prompt.ids[:8] for prompt in prompts]
    digests = [span.digest for prompt in prompts for span in prompt.spans]
    assert len(set(beginnings)) == len(beginnings) == 3 + 3 * 2 + 2 * 5
    assert len(set(digests)) == len(digests) == 2 + 2 * 2 + 2 * 4  # the five: text, image, audio, both, text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tokens", "1"], "argument --tokens: expected a whole number of at least 2, not '1'"),
        (["--turns", "0"], "argument --turns: expected a whole number of at least 1, not '0'"),
        (["--quantize", "int2"], "argument --quantize: invalid choice: 'int2'"),
    ],
)
def test_options_that_cannot_be_measured_are_wrong_use(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer of one token has no decode step. This must be refused before 11 GB are loaded."""
    with pytest.raises(SystemExit) as exit:
        main(["bench", "nano", *argv])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_a_prompt_longer_than_the_context_gives_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The error of the engine is printed, without a traceback."""
    assert main(["bench", "nano", "--prompt", "9999999", *SMALL[:2]]) == 1
    assert "the context holds" in capsys.readouterr().err

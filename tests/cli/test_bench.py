from __future__ import annotations

import json

import pytest

from phi4mm.cli.main import main
from phi4mm.diagnostics import ceilings
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineRequest
from phi4mm.engine.request import Request
from phi4mm.protocol.inputs import Prompt

PROMISED = (
    *("decode_tok_s", "decode_ceiling_fraction", "prefill_tok_s", "prefill_ceiling_fraction", "image_first_token_s"),
    *("audio_first_token_s", "load_s", "resident_gb", "threads", "quantize"),
)
SMALL = ["--turns", "1", "--prompt", "16", "--tokens", "3"]


@pytest.fixture(autouse=True)
def _small_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte read is for machines that are measured, not for tests."""
    monkeypatch.setattr(ceilings, "READ_BYTES", 2**22)
    monkeypatch.setattr(ceilings, "PRODUCT", (16, 64, 64))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Every prompt that reaches the engine."""
    prompts: list[Prompt] = []
    add = Engine.add

    def noting(self: Engine, request: EngineRequest) -> tuple[Request, ...]:
        prompts.append(request.prompt)
        return add(self, request)

    monkeypatch.setattr(Engine, "add", noting)
    return prompts


def test_the_json_line_holds_what_is_promised_and_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read these keys; a fraction of another ceiling than the one beside it would be a false claim."""
    assert main(["bench", "nano", "--json", "--concurrent", "5", *SMALL]) == 0
    out, table = capsys.readouterr()
    (line,) = out.splitlines()
    record = json.loads(line)
    assert set(PROMISED) <= set(record)
    assert record["quantize"] is None
    assert min(value for name, value in record.items() if isinstance(value, float)) > 0
    read = record["ceilings"]["read_gb_s"]
    for name in ("decode", "decode_vision", "decode_speech"):
        fraction = record[f"{name}_tok_s"] * record[f"{name}_gb"] / read
        assert record[f"{name}_ceiling_fraction"] == pytest.approx(fraction)
    assert record["concurrent_ratio"] == pytest.approx(record["concurrent_tok_s"] / record["one_at_a_time_tok_s"])
    assert f"{record['prefill_tok_s']:.2f} tok/s" in table


def test_without_json_the_table_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A person who pipes the report into a file must find it there."""
    assert main(["bench", "nano", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert "decode, text" in out
    assert "to the first token" in out
    assert "mixed requests" not in out
    assert err == ""


def test_no_prompt_comes_twice(asked: list[Prompt]) -> None:
    """The engine remembers prompts and images: a repeated one would measure its memory, not the model."""
    assert main(["bench", "nano", "--concurrent", "5", "--turns", "2", "--prompt", "32", "--tokens", "2"]) == 0
    beginnings = [prompt.ids[:8] for prompt in asked]
    digests = [span.digest for prompt in asked for span in prompt.spans]
    assert len(set(beginnings)) == len(beginnings) == 3 + 3 * 2 + 2 * 5
    assert len(set(digests)) == len(digests) == 2 + 2 * 2 + 2 * 4  # the five: text, image, audio clip, both, text


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--tokens", "1"], "argument --tokens: '1' is no whole number of 2 or more"),
        (["--turns", "0"], "argument --turns: '0' is no whole number of 1 or more"),
        (["--quantize", "int2"], "argument --quantize: invalid choice: 'int2'"),
    ],
)
def test_what_cannot_be_measured_is_wrong_use(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One token has no later step; the fault must show before 11 GB are loaded."""
    with pytest.raises(SystemExit) as leaving:
        main(["bench", "nano", *argv])
    assert leaving.value.code == 2
    assert told in capsys.readouterr().err


def test_a_prompt_past_the_context_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The engine's own refusal, not a traceback."""
    assert main(["bench", "nano", "--prompt", "9999999", *SMALL[:2]]) == 1
    assert "the context holds" in capsys.readouterr().err

"""What bench/peers.py computes from the figures; the peers themselves are too large for a test."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from phi4mm.processing.tokenizer import Special, Tokenizer

BENCH = Path(__file__).parent.parent / "bench"
OURS = {
    "prefill_tok_s": 10.0,
    "decode_tok_s": 4.0,
    "image_first_token_s": 2.0,
    "audio_first_token_s": 1.0,
    "load_s": 1.0,
    "resident_gb": 4.0,
}


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("peers", "measure", "turns", "turns.inputs", "turns.vocabulary"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("peers")


def test_a_ratio_above_one_means_that_ours_is_better(peers: Any) -> None:
    """Rates are better when larger, seconds and memory when smaller; an inverted one would favour the slower system."""
    theirs = OURS | {"prefill_tok_s": 5.0, "decode_tok_s": 8.0, "image_first_token_s": 8.0, "load_s": 0.5}
    result = peers.ratios(OURS, theirs | {"audio_first_token_s": None})
    assert result == {
        "prefill_tok_s": 2.0,
        "decode_tok_s": 0.5,
        "image_first_token_s": 4.0,
        "audio_first_token_s": None,
        "load_s": 0.5,
        "resident_gb": 1.0,
    }


def test_a_peer_that_fails_has_every_key_and_a_reason_for_each(peers: Any, tmp_path: Path) -> None:
    """The record must show a crash as a crash, not as a missing or slow peer."""
    code = "import sys; print('no such instruction', file=sys.stderr); sys.exit(3)"
    args = peers.argparse.Namespace(prompt=1, tokens=2, threads=1)
    record = peers.peer_turn([sys.executable, "-c", code], args, tmp_path / "log")
    record |= peers.fractions(record, 1.0, {"read_gb_s": 1.0, "product_gflop_s": 1.0})
    assert {record[key] for key in peers.KEYS} == {None}
    assert {record["reasons"][key] for key in peers.KEYS} == {"ended with code 3: no such instruction"}


def test_figures_are_medians_of_the_turns_that_have_them(peers: Any) -> None:
    """A crashed turn must not hide the others."""
    turns = [{"decode_tok_s": n, "threads": 2, "reasons": {}} for n in (1.0, 9.0, 2.0)]
    result = peers.medians([*turns, peers.failure("killed")])
    assert (result["decode_tok_s"], result["threads"]) == (2.0, 2)


def test_the_stand_in_vocabulary_is_a_tokenizer_of_the_published_size(peers: Any) -> None:
    """With other entries the peers' head would have another size; with other ids they would miss placeholders."""
    tokenizer = Tokenizer(json.dumps(peers.inputs.vocabulary.tokenizer_json()).encode())
    assert tokenizer.size == 200064
    ids = {special: tokenizer.id(special) for special in (Special.IMAGE, Special.AUDIO, Special.ENDOFTEXT)}
    assert ids == {Special.IMAGE: 200010, Special.AUDIO: 200011, Special.ENDOFTEXT: 199999}
    assert len(tokenizer.encode_text("x" * 500)) == 500

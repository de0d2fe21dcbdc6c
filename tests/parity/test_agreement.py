"""Where transformers' own class is right, phi4mm computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from phi4mm.checkpoint.load import load_model
from phi4mm.config.model import ADAPTER_FOLDERS
from phi4mm.diagnostics.verify import VALUES_BOUND
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.parity.theirs import Theirs, adapted, error, inputs, logits, their_answer
from tests.prompts import clip, full_logits, make_image, make_prompt, run

# The switch to the long rotary factors is at 96 tokens.
PROMPTS: dict[str, Callable[[], Prompt]] = {
    "text": lambda: make_prompt("text", [], 9),
    "text past the switch": lambda: make_prompt("past", [], 150),
    "square image": lambda: make_prompt("square", [make_image(448, 448)], 7),
    "padded image": lambda: make_prompt("padded", [make_image(448, 224)], 7),
    "clip": lambda: make_prompt("clip", [clip(24_000)], 11),
    "clip of more than 500 tokens": lambda: make_prompt("long clip", [clip(645_000)], 5),
    "image and clip": lambda: make_prompt("both", [make_image(224, 448), clip(16_000)], 6),
}


def test_transformers_finds_all_and_only_its_tensors_in_a_folder_of_ours(loaded: tuple[Theirs, dict[str, Any]]) -> None:
    """A renamed tensor would leave random weights in their class, with a log line and no error."""
    _, report = loaded
    assert report == {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_agree_at_every_position(rope96: Phi4MM, theirs: Theirs, name: str) -> None:
    """Two readings of one checkpoint: a wrong rename, adapter scale, projection or rotary factor shows here."""
    prompt = PROMPTS[name]()
    mine = full_logits(rope96, prompt)
    right = logits(adapted(theirs, prompt.adapter), inputs(prompt))[0]
    assert torch.equal(mine.argmax(-1), right.argmax(-1))
    assert error(mine, right) <= VALUES_BOUND


@pytest.mark.parametrize("name", ["clip", "text past the switch", "image and clip"])
def test_greedy_answers_agree(rope96: Phi4MM, theirs: Theirs, name: str) -> None:
    """Their cache and ours are different programs; a position that is off by one shows after the first token."""
    prompt = PROMPTS[name]()
    answer = their_answer(adapted(theirs, prompt.adapter), prompt, 12)
    assert run(rope96, [prompt], SamplingParams(max_tokens=12))[0] == answer


def test_a_folder_that_transformers_and_peft_saved_is_the_same_model(
    rope96: Phi4MM, theirs: Theirs, bare: Theirs, tmp_path: Path
) -> None:
    """Their config.json says more than ours, and peft prefixes its names: neither may stop or change a model."""
    bare.save_pretrained(tmp_path)
    adapted(theirs, "vision").save_pretrained(tmp_path / ADAPTER_FOLDERS["vision"])
    adapted(theirs, "speech").save_pretrained(tmp_path / ADAPTER_FOLDERS["speech"])
    read = load_model(tmp_path, device="cpu", dtype=torch.float32)
    assert read.config == replace(rope96.config, layout="transformers")
    mine, again = rope96.state_dict(), read.state_dict()
    assert mine.keys() == again.keys()
    assert [name for name in mine if not torch.equal(mine[name], again[name])] == []
    prompt = PROMPTS["clip"]()
    assert torch.equal(full_logits(read, prompt), full_logits(rope96, prompt))

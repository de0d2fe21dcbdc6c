"""Cases in which phi4mm and transformers' own class compute the same."""

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

# Sequences of more than 96 tokens use the long factors of LongRoPE.
PROMPTS: dict[str, Callable[[], Prompt]] = {
    "text": lambda: make_prompt("text", [], 9),
    "text with long factors": lambda: make_prompt("past", [], 150),
    "square image": lambda: make_prompt("square", [make_image(448, 448)], 7),
    "padded image": lambda: make_prompt("padded", [make_image(448, 224)], 7),
    "clip": lambda: make_prompt("clip", [clip(24_000)], 11),
    "clip of more than 500 tokens": lambda: make_prompt("long clip", [clip(645_000)], 5),
    "image and clip": lambda: make_prompt("both", [make_image(224, 448), clip(16_000)], 6),
}


def test_transformers_finds_exactly_its_tensors_in_a_folder_written_by_phi4mm(
    loaded: tuple[Theirs, dict[str, Any]],
) -> None:
    """With a wrongly named tensor their class keeps random weights and only logs a line."""
    _, report = loaded
    assert report == {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_agree_at_every_position(rope96: Phi4MM, theirs: Theirs, name: str) -> None:
    """Prevents wrong tensor names, adapter scales, projections and rotary factors."""
    prompt = PROMPTS[name]()
    ours = full_logits(rope96, prompt)
    expected = logits(adapted(theirs, prompt.adapter), inputs(prompt))[0]
    assert torch.equal(ours.argmax(-1), expected.argmax(-1))
    assert error(ours, expected) <= VALUES_BOUND


@pytest.mark.parametrize("name", ["clip", "text with long factors", "image and clip"])
def test_greedy_answers_agree(rope96: Phi4MM, theirs: Theirs, name: str) -> None:
    """Prevents positions that are off by one with the KV cache, which change tokens after the first."""
    prompt = PROMPTS[name]()
    answer = their_answer(adapted(theirs, prompt.adapter), prompt, 12)
    assert run(rope96, [prompt], SamplingParams(max_tokens=12))[0] == answer


def test_a_folder_saved_by_transformers_and_peft_loads_as_the_same_model(
    rope96: Phi4MM, theirs: Theirs, bare: Theirs, tmp_path: Path
) -> None:
    """Their config.json has more keys than ours, and peft prefixes names; neither may fail or change the model."""
    bare.save_pretrained(tmp_path)
    adapted(theirs, "vision").save_pretrained(tmp_path / ADAPTER_FOLDERS["vision"])
    adapted(theirs, "speech").save_pretrained(tmp_path / ADAPTER_FOLDERS["speech"])
    loaded = load_model(tmp_path, device="cpu", dtype=torch.float32)
    assert loaded.config == replace(rope96.config, layout="transformers")
    before, after = rope96.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    prompt = PROMPTS["clip"]()
    assert torch.equal(full_logits(loaded, prompt), full_logits(rope96, prompt))

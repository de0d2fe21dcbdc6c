"""PEFT reads the adapters that phi4mm writes, and phi4mm those that PEFT writes."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from transformers import Phi4MultimodalForCausalLM

from phi4mm.checkpoint.adapters import module, read_adapter, write_adapter
from phi4mm.errors import CheckpointError
from phi4mm.model.phi4mm import Phi4MM
from tests.parity.theirs import Theirs

DECODER = r"model\.layers\.\d+\.(self_attn\.qkv_proj|mlp\.down_proj)"


def with_lora(folder: Path, **settings: object) -> Theirs:
    """Their class with a PEFT adapter of random weights; PEFT itself starts with B = 0."""
    model = peft.get_peft_model(
        Phi4MultimodalForCausalLM.from_pretrained(folder),
        peft.LoraConfig(r=6, lora_alpha=9, target_modules=DECODER, **settings),
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["plain", "rank-stabilised"])
def test_an_adapter_of_peft_can_be_read_and_written_back_for_peft(
    settings: dict[str, bool], rope96: Phi4MM, native_folder: Path, tmp_path: Path
) -> None:
    """Prevents adapters that only phi4mm can read, and a scaling that is lost in conversion."""
    theirs = with_lora(native_folder, **settings)
    theirs.save_pretrained(tmp_path / "theirs")
    weights = read_adapter(tmp_path / "theirs", rope96.config)
    assert {projection for _, projection in weights.layers} == {"qkv_proj", "down_proj"}
    assert len(weights.layers) == 2 * rope96.config.text.num_layers
    for target, (a, b) in weights.layers.items():
        layer = theirs.base_model.model.get_submodule(module(target))
        assert torch.equal(a, layer.lora_A["default"].weight)
        assert torch.equal(b, layer.lora_B["default"].weight)
        assert weights.scaling == layer.scaling["default"]

    write_adapter(weights, tmp_path / "ours", config=rope96.config)
    base = Phi4MultimodalForCausalLM.from_pretrained(native_folder)
    again = peft.PeftModel.from_pretrained(base, str(tmp_path / "ours"))
    ids = torch.arange(8)[None]
    with torch.inference_mode():
        expected, actual = (model(input_ids=ids).logits for model in (theirs.eval(), again.eval()))
        plain = Phi4MultimodalForCausalLM.from_pretrained(native_folder).eval()(input_ids=ids).logits
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert (expected - plain).abs().max() > 1e-3


def test_peft_targets_in_the_encoders_are_refused(rope96: Phi4MM, native_folder: Path, tmp_path: Path) -> None:
    """The target `down_proj` also matches the audio encoder; reading only the decoder's part would change it."""
    model = peft.get_peft_model(
        Phi4MultimodalForCausalLM.from_pretrained(native_folder),
        peft.LoraConfig(r=4, target_modules=["down_proj"]),
    )
    model.save_pretrained(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=r"unexpected \S+audio_embed\S+down_proj\.lora_A\.weight"):
        read_adapter(tmp_path / "theirs", rope96.config)

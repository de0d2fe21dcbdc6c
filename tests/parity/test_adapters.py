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
    """Their class with a random adapter of PEFT, whose B would else be zero."""
    model = peft.get_peft_model(
        Phi4MultimodalForCausalLM.from_pretrained(folder),
        peft.LoraConfig(r=6, lora_alpha=9, target_modules=DECODER, **settings),
    )
    chooser = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=chooser) * 0.1)
    return model


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["plain", "rank-stabilised"])
def test_what_peft_saves_is_read_and_written_back_as_peft_reads_it(
    settings: dict[str, bool], rope96: Phi4MM, native_folder: Path, tmp_path: Path
) -> None:
    """Prevents: adapters that only phi4mm understands, or that lose their scaling between the two."""
    theirs = with_lora(native_folder, **settings)
    theirs.save_pretrained(tmp_path / "theirs")
    weights = read_adapter(tmp_path / "theirs", rope96.config)
    assert {projection for _, projection in weights.layers} == {"qkv_proj", "down_proj"}
    assert len(weights.layers) == 2 * rope96.config.text.num_layers
    for place, (a, b) in weights.layers.items():
        layer = theirs.base_model.model.get_submodule(module(place))
        assert torch.equal(a, layer.lora_A["default"].weight)
        assert torch.equal(b, layer.lora_B["default"].weight)
        assert weights.scaling == layer.scaling["default"]

    write_adapter(weights, tmp_path / "mine", config=rope96.config)
    base = Phi4MultimodalForCausalLM.from_pretrained(native_folder)
    again = peft.PeftModel.from_pretrained(base, str(tmp_path / "mine"))
    ids = torch.arange(8)[None]
    with torch.inference_mode():
        expected, found = (model(input_ids=ids).logits for model in (theirs.eval(), again.eval()))
        plain = Phi4MultimodalForCausalLM.from_pretrained(native_folder).eval()(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (expected - plain).abs().max() > 1e-3


def test_targets_of_peft_that_reach_into_the_towers_are_refused(
    rope96: Phi4MM, native_folder: Path, tmp_path: Path
) -> None:
    """`down_proj` alone also names the audio encoder's; an adapter without that half would be another one."""
    model = peft.get_peft_model(
        Phi4MultimodalForCausalLM.from_pretrained(native_folder),
        peft.LoraConfig(r=4, target_modules=["down_proj"]),
    )
    model.save_pretrained(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=r"unexpected \S+audio_embed\S+down_proj\.lora_A\.weight"):
        read_adapter(tmp_path / "theirs", rope96.config)

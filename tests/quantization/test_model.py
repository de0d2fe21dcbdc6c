"""A quantized model beside the one it was made from: how far apart, and everything else as before.

S tokens, V vocabulary.
"""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor

from phi4mm.config.engine import QUANTIZATIONS, Quantization
from phi4mm.diagnostics.verify import text_ids
from phi4mm.engine.encoders import encode_media
from phi4mm.kernels.packed_weight import GROUP, PackedWeight
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from phi4mm.quantization.quantize import quantize_model, weight_bits
from tests.prompts import clip, make_image, make_prompt, run

LAST = 8  # tokens of each prompt whose logits are compared
# Size of the error over the size of the logits: as measured, and a quarter more. Weights that fill their range evenly
# and adapters as large as the base make this far harder than trained weights (docs/log.md).
CEILINGS: dict[Quantization, dict[str, float]] = {
    "int8": {"text": 0.022, "image": 0.077, "audio": 0.054, "both": 0.165, "past": 0.0155},
    "int4": {"text": 0.29, "image": 0.68, "audio": 0.76, "both": 0.39, "past": 0.25},
}
# Least cosine between what an adapter does to the logits before and after, as measured, and some less.
SIMILARITY = {"int8": 0.99, "int4": 0.8}
GREEDY = SamplingParams(max_tokens=2)


@pytest.fixture(scope="module")
def quantized(rope96: Phi4MM) -> dict[Quantization, Phi4MM]:
    return {scheme: quantize_model(copy.deepcopy(rope96), scheme) for scheme in QUANTIZATIONS}


@pytest.fixture(scope="module")
def prompts() -> dict[str, Prompt]:
    """One row of each kind; the last passes the LongRoPE switch."""
    return {
        "text": make_prompt("text", [], 9),
        "image": make_prompt("image", [make_image(200, 100)], 7),
        "audio": make_prompt("audio", [clip(16000)], 11),
        "both": make_prompt("both", [make_image(100, 37), clip(8000)], 6),
        "past": make_prompt("past", [], 120),
    }


def last_logits(model: Phi4MM, prompt: Prompt) -> Tensor:
    """(LAST, V) logits after the last tokens of a prompt."""
    with torch.inference_mode():
        ids = torch.tensor(prompt.ids)
        media = encode_media(model, prompt, torch.device("cpu"))
        places = [i for span in prompt.spans for i in range(span.start, span.start + span.length)]
        row = BatchedSequence(
            len(ids), adapter=prompt.adapter, long_rope=len(ids) > model.config.text.rope.original_max_positions
        )
        outputs = torch.arange(len(ids) - LAST, len(ids))
        index = torch.tensor(places) if places else None
        logits: Tensor = model(ForwardBatch(ids, (row,), outputs, media, index))
    return logits


@pytest.mark.parametrize("scheme", QUANTIZATIONS)
def test_a_quantized_model_stays_near_the_one_it_was_made_from(
    scheme: Quantization, rope96: Phi4MM, quantized: dict[Quantization, Phi4MM], prompts: dict[str, Prompt]
) -> None:
    """Prevents: a weight packed in the wrong place, with the wrong scale, or in fewer bits than meant."""
    divergences = {}
    for name, prompt in prompts.items():
        exact = last_logits(rope96, prompt)
        divergences[name] = float((last_logits(quantized[scheme], prompt) - exact).norm() / exact.norm())
    assert all(0 < divergences[name] < ceiling for name, ceiling in CEILINGS[scheme].items()), divergences


@pytest.mark.parametrize("scheme", QUANTIZATIONS)
def test_adapters_change_a_quantized_models_logits_as_they_did_before(
    scheme: Quantization, rope96: Phi4MM, quantized: dict[Quantization, Phi4MM]
) -> None:
    """Prevents: adapters lost, merged into the base for everyone, or applied to each other's rows."""
    ids = torch.from_numpy(text_ids("adapters", 40))
    rows = [BatchedSequence(40), BatchedSequence(40, adapter="vision"), BatchedSequence(40, adapter="speech")]

    def logits(model: Phi4MM) -> list[Tensor]:
        with torch.inference_mode():
            return [model(ForwardBatch(ids, (row,), torch.tensor([39])))[0] for row in rows]

    exact, found = logits(rope96), logits(quantized[scheme])
    for a, b in itertools.combinations(range(3), 2):
        before, after = exact[a] - exact[b], found[a] - found[b]
        assert torch.cosine_similarity(before, after, dim=0) > SIMILARITY[scheme], (a, b)
    with torch.inference_mode():
        together = quantized[scheme](ForwardBatch(ids.repeat(3), tuple(rows), torch.tensor([39, 79, 119])))
    assert torch.allclose(together, torch.stack(found), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scheme", QUANTIZATIONS)
def test_rows_of_a_quantized_model_know_nothing_of_each_other(
    scheme: Quantization, quantized: dict[Quantization, Phi4MM], prompts: dict[str, Prompt]
) -> None:
    """Prevents: an adapter or rotary table of another row; text, image and speech share every step."""
    alone = [run(quantized[scheme], [prompt], GREEDY)[0] for prompt in prompts.values()]
    assert len({tuple(answer) for answer in alone}) == len(alone), "rows must differ to show a mix-up"
    assert run(quantized[scheme], list(prompts.values()), GREEDY) == alone


def test_what_is_packed_and_what_is_not(rope96: Phi4MM, quantized: dict[Quantization, Phi4MM]) -> None:
    """Prevents: a decoder or tower that silently stays in 16 bits, or a norm that does not."""
    for scheme, model in quantized.items():
        packed = {name: m.bits for name, m in model.named_modules() if isinstance(m, PackedWeight)}
        assert packed == weight_bits(rope96, scheme)
        decoder = {bits for name, bits in packed.items() if name.startswith("text.")}
        assert decoder == {8 if scheme == "int8" else 4}
        assert {bits for name, bits in packed.items() if not name.startswith("text.")} == {8}
        left = {name: p.shape for name, p in model.named_parameters() if p.ndim == 2}
        decoders = {name: shape for name, shape in left.items() if name.startswith("text.")}
        assert decoders, "tiny's ranks are below a group"
        assert all(".lora_b." in name and shape[1] < GROUP for name, shape in decoders.items())
        towers = set(left) - set(decoders)
        assert towers == {
            "image.tower.position_embedding.weight",
            "image.tower.head.attention.in_proj_weight",
            "audio.encoder.relative_bias.weight",
        }


def test_a_model_of_text_alone_can_be_quantized(rope96: Phi4MM) -> None:
    """Prevents: needing towers or adapters in order to pack a decoder."""
    model = Phi4MM(rope96.config, ())
    model.load_state_dict({name: rope96.state_dict()[name] for name in model.state_dict()})
    packed = [m for m in quantize_model(model, "int4").modules() if isinstance(m, PackedWeight)]
    assert len(packed) == 1 + 4 * rope96.config.text.num_layers
    assert run(model, [make_prompt("text", [], 9)], GREEDY)

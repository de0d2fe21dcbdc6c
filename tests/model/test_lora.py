"""Adapters by name in the model: what may be added, what it changes, and that neighbours in a batch do not."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from phi4mm.config.engine import Quantization
from phi4mm.config.model import AdapterConfig
from phi4mm.errors import ConfigError
from phi4mm.kernels.packed_weight import PackedWeight, unpack
from phi4mm.model.adapter_weights import PROJECTIONS, AdapterWeights, Target, projection_sizes
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.lora import LoRALinear
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.quantization.quantize import quantize_model

NAMES_OF_MODULES = ("keys", "values", "train", "weight", "forward", "_parameters", "-", "x" * 64)


@pytest.fixture
def model(tiny: Phi4MM) -> Phi4MM:
    """A copy that may be changed."""
    return copy.deepcopy(tiny)


def lora(model: Phi4MM, rank: int, *, seed: int = 0, places: tuple[Target, ...] | None = None) -> AdapterWeights:
    """A LoRA strong enough to change every logit, over all projections or some places."""
    generator = torch.Generator().manual_seed(seed)
    sizes = projection_sizes(model.config.text)
    every = tuple((n, name) for n in range(model.config.text.num_layers) for name in PROJECTIONS)
    layers = {}
    for layer, name in every if places is None else places:
        outputs, inputs = sizes[name]
        a, b = torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)
        layers[layer, name] = (a / 4, b / 4)
    return AdapterWeights(layers, 0.5)


def logits(model: Phi4MM, *adapters: str | None) -> Tensor:
    """(rows, 6, V): the same six tokens once an adapter."""
    rows = tuple(BatchedSequence(6, adapter=adapter) for adapter in adapters)
    ids = (torch.arange(6) * 13 + 5).repeat(len(rows))
    with torch.no_grad():
        found: Tensor = model(ForwardBatch(ids, rows, torch.arange(len(ids))))
    return found.view(len(rows), 6, -1)


def linears(model: Phi4MM) -> Mapping[Target, LoRALinear]:
    return {
        (n, name): linear
        for n, layer in enumerate(model.text.decoder_layers)
        for name, linear in zip(PROJECTIONS, layer.linears, strict=True)
    }


@pytest.mark.parametrize("places", [None, ((0, "o_proj"),), ((1, "qkv_proj"), (1, "down_proj"))])
def test_an_added_adapter_is_its_matrices_merged_into_the_base(
    model: Phi4MM, places: tuple[Target, ...] | None
) -> None:
    """Matrices of another place or a scaling that is lost; places that it does not cover must run without it."""
    weights = lora(model, 5, places=places)
    merged = copy.deepcopy(model)
    with torch.no_grad():
        for place, (a, b) in weights.layers.items():
            linears(merged)[place].weight.add_(weights.scaling * b @ a)
    model.add_adapter("mine", weights)
    torch.testing.assert_close(logits(model, "mine"), logits(merged, None), rtol=1e-4, atol=1e-3)
    assert not torch.allclose(logits(model, "mine"), logits(model, None), atol=1e-2)


def test_sequences_of_many_adapters_in_one_batch_are_each_as_alone(model: Phi4MM) -> None:
    """Ranks and coverage of their own, and rows of one adapter that do not lie side by side."""
    model.add_adapter("wide", lora(model, 40, seed=1))
    model.add_adapter("thin", lora(model, 1, seed=2, places=((1, "gate_up_proj"),)))
    names = ("wide", None, "thin", "vision", "wide", "speech")
    together = logits(model, *names)
    for row, name in zip(together, names, strict=True):
        torch.testing.assert_close(row, logits(model, name)[0], rtol=1e-5, atol=1e-5)
    assert len({round(row.sum().item(), 3) for row in together}) == 5


def test_removing_an_adapter_leaves_the_model_as_it_was(model: Phi4MM) -> None:
    """A matrix that stays is memory nobody can free; a version that comes again lets caches mix two adapters up."""
    before, names = logits(model, None, "vision", "speech"), list(model.state_dict())
    model.add_adapter("mine", lora(model, 4))
    version = model.text.adapters["mine"]
    model.remove_adapter("mine")
    assert model.adapters == ("vision", "speech")
    assert list(model.state_dict()) == names
    assert torch.equal(logits(model, None, "vision", "speech"), before)
    model.add_adapter("mine", lora(model, 4))
    assert model.text.adapters["mine"] not in (version, *(model.text.adapters[name] for name in ("vision", "speech")))


def test_built_in_adapters_can_go_and_come_again_under_their_stored_names(model: Phi4MM) -> None:
    """Checkpoints know them by these names."""
    state = model.state_dict()
    layers = {
        (n, name): tuple(state[f"text.layers.{n}.{part}.{name}.lora_{x}.speech"] for x in "ab")
        for n in range(model.config.text.num_layers)
        for name, part in zip(PROJECTIONS, ("self_attn", "self_attn", "mlp", "mlp"), strict=True)
    }
    assert model.config.speech_lora is not None
    weights = AdapterWeights({place: (a, b) for place, (a, b) in layers.items()}, model.config.speech_lora.scaling)
    before = logits(model, "speech")
    model.remove_adapter("speech")
    model.add_adapter("speech", weights)
    assert torch.equal(logits(model, "speech"), before)
    assert set(model.state_dict()) == set(state)


@pytest.mark.parametrize("quantize", [None, "int4"])
@pytest.mark.parametrize("name", NAMES_OF_MODULES)
def test_names_of_a_modules_own_attributes_are_names_like_any_other(
    model: Phi4MM, name: str, quantize: Quantization | None
) -> None:
    """nn.ParameterDict refuses `keys`, and nn.Module would hide a weight called `train`."""
    weights = lora(model, 32)
    model.add_adapter(name, weights)
    if quantize is not None:
        quantize_model(model, quantize)
    expected = logits(model, name)
    assert f"text.layers.0.mlp.down_proj.lora_b.{name}" in "\n".join(model.state_dict())
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(logits(fresh, name), expected)
    model.train().eval().to(torch.float32).remove_adapter(name)
    assert model.adapters == ("vision", "speech")


def changed(place: Target, a: Tensor, b: Tensor) -> Callable[[AdapterWeights], AdapterWeights]:
    return lambda weights: replace(weights, layers={**weights.layers, place: (a, b)})


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (changed((2, "o_proj"), torch.ones(4, 64), torch.ones(64, 4)), ["layer 2 o_proj is unknown", "layers 0 to 1"]),
        (
            changed((0, "q_proj"), torch.ones(4, 64), torch.ones(64, 4)),
            ["layer 0 q_proj is unknown", "qkv_proj, o_proj"],
        ),
        (
            changed((0, "o_proj"), torch.ones(4, 63), torch.ones(64, 4)),
            ["A (4, 63) and B (64, 4)", "expected (rank, 64) and (64, rank)"],
        ),
        (changed((0, "o_proj"), torch.ones(4, 64), torch.ones(64, 5)), ["A (4, 64) and B (64, 5)"]),
        (changed((0, "o_proj"), torch.ones(64), torch.ones(64, 4)), ["A (64,)"]),
        (changed((0, "o_proj"), torch.ones(0, 64), torch.ones(64, 0)), ["has rank 0"]),
        (changed((0, "o_proj"), torch.ones(4, 64).int(), torch.ones(64, 4)), ["torch.int32"]),
        (lambda weights: replace(weights, scaling=float("nan")), ["scaling is nan"]),
        (lambda weights: replace(weights, layers={}), ["no matrices"]),
        (
            lambda weights: AdapterWeights({(7, "o_proj"): (torch.ones(1, 1), torch.ones(1, 1))}, float("inf")),
            ["scaling is inf", "layer 7 o_proj is unknown"],
        ),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_added(
    model: Phi4MM, change: Callable[[AdapterWeights], AdapterWeights], problems: list[str]
) -> None:
    """A wrong shape would fail in the first request that uses the adapter, and half of it would stay."""
    names = set(model.state_dict())
    with pytest.raises(ConfigError, match="the adapter 'mine' does not fit this model") as error:
        model.add_adapter("mine", change(lora(model, 4)))
    assert [problem for problem in problems if problem not in str(error.value)] == []
    assert (set(model.state_dict()), model.adapters) == (names, ("vision", "speech"))


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ä", "a/b", "a\n", "x" * 65])
def test_names_that_no_tensor_could_carry_are_refused(model: Phi4MM, name: str) -> None:
    """A dot would name another module in the state dict."""
    with pytest.raises(ConfigError, match="1 to 64 letters"):
        model.add_adapter(name, lora(model, 4))


def test_a_name_in_use_and_an_unknown_one_are_refused(model: Phi4MM) -> None:
    """An adapter that is replaced unasked answers requests which meant the other."""
    with pytest.raises(ConfigError, match="in use"):
        model.add_adapter("speech", lora(model, 4))
    with pytest.raises(ConfigError, match=re.escape("no adapter 'mine'; it has vision, speech")):
        model.remove_adapter("mine")
    with pytest.raises(ConfigError, match="no adapter 'mine'"):
        logits(model, None, "mine")


@pytest.mark.parametrize(("quantize", "bits"), [("int8", 8), ("int4", 4)])
def test_a_quantized_models_adapter_is_packed_as_its_built_in_ones_are(
    model: Phi4MM, quantize: Quantization, bits: int
) -> None:
    """Added plain to a packed model it would keep the fused decoder from running; packed otherwise, it would differ."""
    weights = lora(model, 32)
    model.add_adapter("before", weights)
    quantize_model(model, quantize)
    model.add_adapter("after", weights)
    for linear in linears(model).values():
        for matrices in (linear.lora_a, linear.lora_b):
            before, after = matrices["before"], matrices["after"]
            assert isinstance(before, PackedWeight)
            assert isinstance(after, PackedWeight)
            assert (after.bits, before.shape) == (bits, after.shape)
            assert torch.equal(unpack(after), unpack(before))
    model.add_adapter("thin", lora(model, 16))
    thin = linears(model)[0, "o_proj"]
    assert isinstance(thin.lora_a["thin"], PackedWeight)
    assert isinstance(thin.lora_b["thin"], nn.Parameter), "16 inputs fill no half of a group"


@pytest.mark.parametrize("quantize", [None, "int4"])
def test_a_trainable_adapter_gets_gradients_and_the_given_weights_stay(
    model: Phi4MM, quantize: Quantization | None
) -> None:
    """Adapters are trained over a frozen, maybe packed, base; an optimizer must not write into the caller's tensors."""
    if quantize is not None:
        quantize_model(model, quantize)
    model.requires_grad_(False)
    weights = lora(model, 32)
    given = {place: (a.clone(), b.clone()) for place, (a, b) in weights.layers.items()}
    model.add_adapter("mine", weights, trainable=True)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(weights.layers)
    ids = torch.arange(6)
    model(ForwardBatch(ids, (BatchedSequence(6, adapter="mine"),), torch.arange(6))).logsumexp(-1).sum().backward()
    with torch.no_grad():
        for name, parameter in trained.items():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
            parameter.sub_(parameter.grad)
    assert all(torch.equal(x, y) for p in given for x, y in zip(given[p], weights.layers[p], strict=True))


def test_towers_are_named_apart_from_adapters(tiny: Phi4MM) -> None:
    """An image may run with an adapter of another name, or none."""
    with torch.device("meta"):
        default = {adapters: Phi4MM(tiny.config, adapters) for adapters in ((), ("speech",), ("vision",))}
        images = Phi4MM(tiny.config, (), towers=("image",))
    towers = {adapters: (model.image is not None, model.audio is not None) for adapters, model in default.items()}
    assert towers == {(): (False, False), ("speech",): (False, True), ("vision",): (True, True)}
    assert (images.image is not None, images.audio is not None, images.adapters) == (True, False, ())


def test_an_adapters_inputs_are_dropped_in_training_mode_alone() -> None:
    """As PEFT does: left out, a recipe with dropout trains something else; kept in inference, answers would vary."""
    torch.manual_seed(0)
    adapters = {"speech": AdapterConfig(4, 8.0, dropout=0.5), "vision": AdapterConfig(4, 8.0, dropout=0.0)}
    layer = LoRALinear(64, 32, adapters)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, everywhere = torch.randn(3, 64), slice(0, 3)
    layer.eval()
    plain = {name: layer(x, {name: everywhere}) for name in adapters}
    assert torch.equal(layer(x, {"speech": everywhere}), plain["speech"])
    layer.train()
    assert torch.equal(layer(x, {"vision": everywhere}), plain["vision"])
    assert torch.equal(layer(x, {}), layer.eval()(x, {}))
    layer.train()
    drawn = torch.stack([layer(x, {"speech": everywhere}) for _ in range(4000)])
    assert not torch.equal(drawn[0], drawn[1])
    spread = drawn.std(0) / 4000**0.5
    assert ((drawn.mean(0) - plain["speech"]).abs() < 6 * spread).all(), "the mean is the layer without dropout"

"""Named adapters in the model: what may be added, what it changes, and that sequences of a batch do not mix."""

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


def lora(model: Phi4MM, rank: int, *, seed: int = 0, targets: tuple[Target, ...] | None = None) -> AdapterWeights:
    """A LoRA strong enough to change every logit, on all targets or some."""
    generator = torch.Generator().manual_seed(seed)
    sizes = projection_sizes(model.config.text)
    all_targets = tuple((n, name) for n in range(model.config.text.num_layers) for name in PROJECTIONS)
    layers = {}
    for layer, name in all_targets if targets is None else targets:
        outputs, inputs = sizes[name]
        a, b = torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)
        layers[layer, name] = (a / 4, b / 4)
    return AdapterWeights(layers, 0.5)


def logits(model: Phi4MM, *adapters: str | None) -> Tensor:
    """(B, 6, V): the same six tokens as one sequence for each adapter."""
    sequences = tuple(BatchedSequence(6, adapter=adapter) for adapter in adapters)
    ids = (torch.arange(6) * 13 + 5).repeat(len(sequences))
    with torch.no_grad():
        result: Tensor = model(ForwardBatch(ids, sequences, torch.arange(len(ids))))
    return result.view(len(sequences), 6, -1)


def linears(model: Phi4MM) -> Mapping[Target, LoRALinear]:
    return {
        (n, name): linear
        for n, layer in enumerate(model.text.decoder_layers)
        for name, linear in zip(PROJECTIONS, layer.linears, strict=True)
    }


@pytest.mark.parametrize("targets", [None, ((0, "o_proj"),), ((1, "qkv_proj"), (1, "down_proj"))])
def test_an_added_adapter_gives_the_logits_of_merged_weights(model: Phi4MM, targets: tuple[Target, ...] | None) -> None:
    """Matrices at another target, or a lost scaling, would change them; other targets must run without the adapter."""
    weights = lora(model, 5, targets=targets)
    merged = copy.deepcopy(model)
    with torch.no_grad():
        for target, (a, b) in weights.layers.items():
            linears(merged)[target].weight.add_(weights.scaling * b @ a)
    model.add_adapter("mine", weights)
    torch.testing.assert_close(logits(model, "mine"), logits(merged, None), rtol=1e-4, atol=1e-3)
    assert not torch.allclose(logits(model, "mine"), logits(model, None), atol=1e-2)


def test_sequences_with_different_adapters_in_one_batch_equal_each_alone(model: Phi4MM) -> None:
    """The adapters have different ranks and targets, and sequences of one adapter are not next to each other."""
    model.add_adapter("wide", lora(model, 40, seed=1))
    model.add_adapter("thin", lora(model, 1, seed=2, targets=((1, "gate_up_proj"),)))
    names = ("wide", None, "thin", "vision", "wide", "speech")
    together = logits(model, *names)
    for sequence, name in zip(together, names, strict=True):
        torch.testing.assert_close(sequence, logits(model, name)[0], rtol=1e-5, atol=1e-5)
    assert len({round(sequence.sum().item(), 3) for sequence in together}) == 5


def test_removing_an_adapter_leaves_the_model_as_it_was(model: Phi4MM) -> None:
    """A matrix that stays is lost memory; if a version is used twice, caches confuse two adapters."""
    before, names = logits(model, None, "vision", "speech"), list(model.state_dict())
    model.add_adapter("mine", lora(model, 4))
    version = model.text.adapters["mine"]
    model.remove_adapter("mine")
    assert model.adapters == ("vision", "speech")
    assert list(model.state_dict()) == names
    assert torch.equal(logits(model, None, "vision", "speech"), before)
    model.add_adapter("mine", lora(model, 4))
    assert model.text.adapters["mine"] not in (version, *(model.text.adapters[name] for name in ("vision", "speech")))


def test_built_in_adapters_can_be_removed_and_added_again_under_their_stored_names(model: Phi4MM) -> None:
    """Checkpoints store them under these names."""
    state = model.state_dict()
    layers = {
        (n, name): tuple(state[f"text.layers.{n}.{part}.{name}.lora_{x}.speech"] for x in "ab")
        for n in range(model.config.text.num_layers)
        for name, part in zip(PROJECTIONS, ("self_attn", "self_attn", "mlp", "mlp"), strict=True)
    }
    assert model.config.speech_lora is not None
    weights = AdapterWeights({target: (a, b) for target, (a, b) in layers.items()}, model.config.speech_lora.scaling)
    before = logits(model, "speech")
    model.remove_adapter("speech")
    model.add_adapter("speech", weights)
    assert torch.equal(logits(model, "speech"), before)
    assert set(model.state_dict()) == set(state)


@pytest.mark.parametrize("quantize", [None, "int4"])
@pytest.mark.parametrize("name", NAMES_OF_MODULES)
def test_an_adapter_may_have_the_name_of_an_attribute_of_a_module(
    model: Phi4MM, name: str, quantize: Quantization | None
) -> None:
    """nn.ParameterDict refuses `keys`, and in an nn.Module a weight called `train` would be hidden by the method."""
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


def changed(target: Target, a: Tensor, b: Tensor) -> Callable[[AdapterWeights], AdapterWeights]:
    return lambda weights: replace(weights, layers={**weights.layers, target: (a, b)})


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
def test_every_problem_of_an_adapter_that_does_not_fit_is_listed_and_nothing_is_added(
    model: Phi4MM, change: Callable[[AdapterWeights], AdapterWeights], problems: list[str]
) -> None:
    """Otherwise a wrong shape fails in the first request that uses the adapter, and half of its matrices stay."""
    names = set(model.state_dict())
    with pytest.raises(ConfigError, match="the adapter 'mine' does not fit this model") as error:
        model.add_adapter("mine", change(lora(model, 4)))
    assert [problem for problem in problems if problem not in str(error.value)] == []
    assert (set(model.state_dict()), model.adapters) == (names, ("vision", "speech"))


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ä", "a/b", "a\n", "x" * 65])
def test_names_that_cannot_be_part_of_a_tensor_name_are_refused(model: Phi4MM, name: str) -> None:
    """A dot would name a submodule in the state dict."""
    with pytest.raises(ConfigError, match="1 to 64 letters"):
        model.add_adapter(name, lora(model, 4))


def test_a_name_in_use_and_an_unknown_one_are_refused(model: Phi4MM) -> None:
    """If an adapter were replaced silently, requests for the old one would be answered with the new one."""
    with pytest.raises(ConfigError, match="in use"):
        model.add_adapter("speech", lora(model, 4))
    with pytest.raises(ConfigError, match=re.escape("no adapter 'mine'; it has vision, speech")):
        model.remove_adapter("mine")
    with pytest.raises(ConfigError, match="no adapter 'mine'"):
        logits(model, None, "mine")


@pytest.mark.parametrize(("quantize", "bits"), [("int8", 8), ("int4", 4)])
def test_an_adapter_of_a_quantized_model_is_packed_like_the_built_in_ones(
    model: Phi4MM, quantize: Quantization, bits: int
) -> None:
    """If it were not packed, the fused decoder could not run; packed in another way, its results would differ."""
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
    assert isinstance(thin.lora_b["thin"], nn.Parameter), "16 inputs are less than half a group"


@pytest.mark.parametrize("quantize", [None, "int4"])
def test_a_trainable_adapter_gets_gradients_and_the_given_weights_do_not_change(
    model: Phi4MM, quantize: Quantization | None
) -> None:
    """Adapters are trained on a frozen, maybe packed, base. The optimizer must not change the caller's tensors."""
    if quantize is not None:
        quantize_model(model, quantize)
    model.requires_grad_(False)
    weights = lora(model, 32)
    given = {target: (a.clone(), b.clone()) for target, (a, b) in weights.layers.items()}
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


def test_towers_can_be_chosen_without_adapters(tiny: Phi4MM) -> None:
    """An image may run with an adapter of another name, or none."""
    with torch.device("meta"):
        default = {adapters: Phi4MM(tiny.config, adapters) for adapters in ((), ("speech",), ("vision",))}
        images = Phi4MM(tiny.config, (), towers=("image",))
    towers = {adapters: (model.image is not None, model.audio is not None) for adapters, model in default.items()}
    assert towers == {(): (False, False), ("speech",): (False, True), ("vision",): (True, True)}
    assert (images.image is not None, images.audio is not None, images.adapters) == (True, False, ())


def test_dropout_is_applied_to_an_adapters_input_only_in_training_mode() -> None:
    """As in PEFT. Without it, training gives other weights; with it in inference, answers would be random."""
    torch.manual_seed(0)
    adapters = {"speech": AdapterConfig(4, 8.0, dropout=0.5), "vision": AdapterConfig(4, 8.0, dropout=0.0)}
    layer = LoRALinear(64, 32, adapters)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, all_tokens = torch.randn(3, 64), slice(0, 3)
    layer.eval()
    plain = {name: layer(x, {name: all_tokens}) for name in adapters}
    assert torch.equal(layer(x, {"speech": all_tokens}), plain["speech"])
    layer.train()
    assert torch.equal(layer(x, {"vision": all_tokens}), plain["vision"])
    assert torch.equal(layer(x, {}), layer.eval()(x, {}))
    layer.train()
    drawn = torch.stack([layer(x, {"speech": all_tokens}) for _ in range(4000)])
    assert not torch.equal(drawn[0], drawn[1])
    standard_error = drawn.std(0) / 4000**0.5
    assert ((drawn.mean(0) - plain["speech"]).abs() < 6 * standard_error).all(), "the mean is the layer without dropout"

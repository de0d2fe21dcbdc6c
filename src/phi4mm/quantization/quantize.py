"""Quantize a model: choose which weights are packed in how many bits, and replace them."""

from __future__ import annotations

from typing import TypeAlias

from torch import nn

from phi4mm.config.engine import Quantization
from phi4mm.kernels.packed_weight import Bits, PackedWeight
from phi4mm.kernels.rounding import empty_weight, is_worth_packing, pack_weight
from phi4mm.model.lora import LoRALinear, NamedWeights
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.quantization.embedding import PackedEmbedding
from phi4mm.quantization.linear import PackedLinear

Plan: TypeAlias = dict[str, Bits]  # name and bits of each parameter to pack
DECODER_BITS: dict[Quantization, Bits] = {"int8": 8, "int4": 4}
TOWER_BITS: Bits = 8


def quantize_model(model: Phi4MM, scheme: Quantization) -> Phi4MM:
    """Pack the weights of `model` in place, one after the other, and return it. Other tensors do not change."""
    parameters = dict(model.named_parameters())
    for name, bits in weight_bits(model, scheme).items():
        replace_weight(model, name, pack_weight(parameters.pop(name).detach(), bits))
    return model


def weight_bits(model: Phi4MM, scheme: Quantization) -> Plan:
    """Name and bits of each parameter that `scheme` packs.

    Decoder, adapters and the tied embedding get the scheme's bits, linear layers of towers and projectors get 8
    (docs/decisions/0006-quantization.md). Convolutions, norms, biases and position tables are not packed, nor are
    matrices with fewer inputs than half a group, such as B of an adapter of rank 16.
    """
    bits: Plan = {"text.embed_tokens.weight": DECODER_BITS[scheme]}
    for path, module in model.named_modules():
        if isinstance(module, LoRALinear):
            bits |= {f"{path}.{name}": DECODER_BITS[scheme] for name, _ in module.named_parameters()}
        elif isinstance(module, nn.Linear):
            bits[f"{path}.weight"] = TOWER_BITS
    parameters = dict(model.named_parameters())
    return {name: n for name, n in bits.items() if is_worth_packing(parameters[name])}


def replace_weight(model: Phi4MM, name: str, packed: PackedWeight) -> None:
    """Replace the parameter `name` by `packed`, whose tensors are `{name}.codes` and `{name}.scales`."""
    path, _, leaf = name.rpartition(".")
    parent = model.get_submodule(path)
    if isinstance(parent, nn.Linear):
        model.set_submodule(path, PackedLinear(packed, parent.bias))
    elif isinstance(parent, nn.Embedding):
        model.set_submodule(path, PackedEmbedding(packed, parent.weight.dtype))
    elif isinstance(parent, NamedWeights):
        parent[leaf] = packed
    else:
        delattr(parent, leaf)  # torch does not let a module take the name of a parameter
        setattr(parent, leaf, packed)


def make_empty(model: Phi4MM, scheme: Quantization) -> Phi4MM:
    """`quantize_model` for a model on the meta device: the same names, shapes and dtypes, without values."""
    parameters = dict(model.named_parameters())
    for name, bits in weight_bits(model, scheme).items():
        replace_weight(model, name, empty_weight(parameters[name], bits, device="meta"))
    return model

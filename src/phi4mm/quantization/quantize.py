"""Which weights of a model are packed, in how many bits, and the swap itself.

O outputs, I inputs.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from phi4mm.config.engine import Quantization
from phi4mm.kernels.packed_weight import BYTES, GROUP, TILE, Bits, PackedWeight, grouped, pack
from phi4mm.model.lora import LoRALinear
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.quantization.embedding import PackedEmbedding
from phi4mm.quantization.linear import PackedLinear
from phi4mm.quantization.scales import least_error_scales

Plan: TypeAlias = dict[str, Bits]  # of the parameters to be packed, by name
DECODER_BITS: dict[Quantization, Bits] = {"int8": 8, "int4": 4}
TOWER_BITS: Bits = 8
OUTPUTS_AT_ONCE = 16 * TILE  # rounded together: their float32 scratch stays near a core's cache


def quantize_model(model: Phi4MM, scheme: Quantization) -> Phi4MM:
    """Pack the weights of `model` in place, one after the other, and return it. Its other tensors stay as they are."""
    for name, bits in weight_bits(model, scheme).items():
        put_weight(model, name, pack_weight(model.get_parameter(name).detach(), bits))
    return model


def weight_bits(model: Phi4MM, scheme: Quantization) -> Plan:
    """The parameters that `scheme` packs, by name, and their bits.

    Decoder, adapters and the tied embedding in the scheme's bits, linear layers of towers and projections in 8
    (docs/decisions/0006-quantization.md). Convolutions, norms, biases and position tables stay; so do matrices whose
    inputs fill no half of a group, such as the outer half of an adapter of rank 16.
    """
    bits: Plan = {"text.embed_tokens.weight": DECODER_BITS[scheme]}
    for path, module in model.named_modules():
        if isinstance(module, LoRALinear):
            bits |= {f"{path}.{name}": DECODER_BITS[scheme] for name, _ in module.named_parameters()}
        elif isinstance(module, nn.Linear):
            bits[f"{path}.weight"] = TOWER_BITS
    return {name: n for name, n in bits.items() if model.get_parameter(name).shape[1] >= GROUP // 2}


def pack_weight(weight: Tensor, bits: Bits) -> PackedWeight:
    """(O, I) packed on its device, some outputs at a time: needs little beyond its result.

    8 bits take the scale of each group's largest magnitude, 4 bits the scale of least error.
    """
    result = hollow_weight(weight, bits, device=weight.device)
    for start in range(0, weight.shape[0], OUTPUTS_AT_ONCE):
        rows = weight[start : start + OUTPUTS_AT_ONCE]
        part = pack(rows, bits, least_error_scales(grouped(rows)) if bits == 4 else None)
        tiles = slice(start // TILE, start // TILE + len(part.codes))
        result.codes[tiles], result.scales[tiles] = part.codes, part.scales
    return result


def put_weight(model: Phi4MM, name: str, packed: PackedWeight) -> None:
    """Put `packed` in the place of the parameter `name`: its tensors are `{name}.codes` and `{name}.scales`."""
    path, _, leaf = name.rpartition(".")
    parent = model.get_submodule(path)
    if isinstance(parent, nn.Linear):
        model.set_submodule(path, PackedLinear(packed, parent.bias))
    elif isinstance(parent, nn.Embedding):
        model.set_submodule(path, PackedEmbedding(packed, parent.weight.dtype))
    else:
        delattr(parent, leaf)  # torch lets no module take a parameter's name
        setattr(parent, leaf, packed)


def hollow_out(model: Phi4MM, scheme: Quantization) -> Phi4MM:
    """`quantize_model` for a model on the meta device: the same names, shapes and dtypes without any values."""
    for name, bits in weight_bits(model, scheme).items():
        put_weight(model, name, hollow_weight(model.get_parameter(name), bits, device="meta"))
    return model


def hollow_weight(weight: Tensor, bits: Bits, *, device: str | torch.device) -> PackedWeight:
    """Room for `weight` (O, I) in packed form, uninitialised."""
    outputs, inputs = weight.shape
    tiles, groups = -(-outputs // TILE), -(-inputs // GROUP)
    codes = torch.empty(tiles, groups, BYTES[bits], dtype=torch.uint8, device=device)
    scales = torch.empty(tiles, groups, TILE, dtype=torch.bfloat16, device=device)
    return PackedWeight(codes, scales, bits=bits, outputs=outputs, inputs=inputs)

"""What the decoder does between its products: norm, rotation, SwiGLU, storing keys. References in torch, twins in C.

One token's step is some thousand small torch calls otherwise, a tenth of a second's worth of them every few tokens.

T packed tokens, D model width, H heads, E head width, I inner width.
"""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from phi4mm.kernels.cpu import library as native


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., D): normalised in float32, cast to x's dtype, then scaled (model.md 4.2)."""
    library = _in_c(x, weight)
    if library is None:
        return rms_norm_reference(x, weight, eps)
    x = x.contiguous()
    y = torch.empty_like(x)
    library.phi4mm_rms_norm(
        x.data_ptr(), x.dtype == torch.bfloat16, x.numel() // x.shape[-1], x.shape[-1], weight.data_ptr(), eps,
        y.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return y


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The same in torch."""
    x32 = x.float()
    x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + eps)
    return weight * x32.to(x.dtype)


def rotate_heads(x_THE: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first `rotary` dims of the first `heads` heads, pair i with i + rotary/2; the rest passes through.

    x_THE       (T, H, E) queries, keys and values side by side; may be changed in place, so use what is returned
    cos, sin    (T, 1, rotary) in x's dtype
    """
    library = _in_c(x_THE, cos)
    if library is None or not x_THE.is_contiguous():
        return torch.cat([rotate_reference(x_THE[:, :heads], cos, sin), x_THE[:, heads:]], dim=1)
    tokens, total, width = x_THE.shape
    library.phi4mm_rotate(
        x_THE.data_ptr(), x_THE.dtype == torch.bfloat16, tokens, total, heads, width, cos.contiguous().data_ptr(),
        sin.contiguous().data_ptr(), cos.shape[-1] // 2, torch.get_num_threads(),
    )  # fmt: skip
    return x_THE


def rotate_reference(x_THE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """All heads rotated, in torch."""
    width = cos.shape[-1]
    x, rest = x_THE[..., :width], x_THE[..., width:]
    low, high = x.chunk(2, dim=-1)
    turned = x * cos + torch.cat([-high, low], dim=-1) * sin
    return torch.cat([turned, rest], dim=-1)


def swiglu(x: Tensor) -> Tensor:
    """(T, 2 I) -> (T, I): up * silu(gate), gate first."""
    library = _in_c(x, x)
    if library is None:
        return swiglu_reference(x)
    x = x.contiguous()
    y = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
    library.phi4mm_swiglu(
        x.data_ptr(), x.dtype == torch.bfloat16, y.numel() // y.shape[-1], y.shape[-1], y.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return y


def swiglu_reference(x: Tensor) -> Tensor:
    """The same in torch."""
    gate, up = x.chunk(2, dim=-1)
    return up * F.silu(gate)


def place(pages: Tensor, slots: Tensor, x: Tensor) -> None:
    """Copy x (T, ...), T at least 1, to rows `slots` (T,) int64 of pages (N, ...), which is changed."""
    fits = x.device.type == "cpu" and x.dtype == pages.dtype and pages.is_contiguous() and x[0].is_contiguous()
    library = native.library() if fits and slots.dtype == torch.int64 and slots.is_contiguous() else None
    if library is None:
        pages.index_copy_(0, slots, x)
        return
    failed = library.phi4mm_place(
        x.data_ptr(), len(x), x[0].numel() * x.element_size(), x.stride(0) * x.element_size(), slots.data_ptr(),
        pages.data_ptr(), len(pages),
    )  # fmt: skip
    assert not failed, f"slots {slots.tolist()} of {len(pages)}"


def _in_c(x: Tensor, other: Tensor) -> ctypes.CDLL | None:
    """The C twins where they can run: on a CPU, in one dtype that they know, and where no gradient is asked for."""
    known = x.device.type == "cpu" and x.dtype == other.dtype and x.dtype in (torch.float32, torch.bfloat16)
    wanted = torch.is_grad_enabled() and (x.requires_grad or other.requires_grad)
    return native.library() if known and not wanted and x.numel() else None

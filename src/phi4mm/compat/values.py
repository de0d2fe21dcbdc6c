"""Checks of the values that scripts pass, by the names of their keywords."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from phi4mm.config.validate import is_integer, is_number, shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.load import MAX_EOS_IDS

Fits: TypeAlias = "Callable[[Any], bool]"


def _whole(low: int, high: int) -> tuple[Fits, str]:
    def fits(value: Any) -> bool:
        return (is_integer(value) or isinstance(value, np.integer)) and bool(low <= value <= high)

    return fits, f"a whole number from {low} to {high}"


def _flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1))


def _words(*words: str) -> Fits:
    return lambda value: isinstance(value, str) and value in words


def _each(fits: Fits) -> Fits:
    """Whether it is one such value, or a list of them."""
    return lambda value: all(map(fits, value)) if isinstance(value, (list, tuple)) else fits(value)


def _path(value: Any) -> bool:
    """Whether the system can take it as a path: 255 bytes a name, 4096 in all."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or len(text) > 4096 or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return False
    return all(len(name) <= 255 for name in os.fsencode(text).split(b"/"))


_is_id, _IDS = _whole(0, 2**31)[0], "token ids"
_FLAG = (_flag, "True or False")
_TEXT = (lambda value: isinstance(value, str), "text")
_PATH = (_path, "a path")
# The keyword -> whether a value fits, and what was expected.
VALUES: Mapping[str, tuple[Fits, str]] = {
    **dict.fromkeys(("max_new_tokens", "max_length"), _whole(1, 2**31)),
    **dict.fromkeys(("num_logits_to_keep", "logits_to_keep"), _whole(0, 2**31)),
    "dynamic_hd": _whole(1, 64),
    "seed": _whole(0, 2**63 - 1),
    "pad_token_id": (_is_id, _IDS),
    "eos_token_id": (
        lambda value: _each(_is_id)(value) and (not isinstance(value, (list, tuple)) or len(value) <= MAX_EOS_IDS),
        f"at most {MAX_EOS_IDS} {_IDS}",
    ),
    **dict.fromkeys(("do_sample", "tokenize", "add_generation_prompt", "return_dict", "local_files_only"), _FLAG),
    **dict.fromkeys(("skip_prompt", "skip_special_tokens"), _FLAG),
    "padding": (
        lambda value: _flag(value) or _words("longest", "do_not_pad")(value),
        "True, 'longest' or False",
    ),
    "padding_side": (_words("left", "right"), "one of left, right"),
    "return_tensors": (_words("pt"), "'pt', as all tensors are PyTorch's"),
    "stop_strings": (_each(lambda value: isinstance(value, str)), "text, or a list of texts"),
    "stopping_criteria": (_each(callable), "a callable (input_ids, scores), or a list of them"),
    "streamer": (
        lambda value: callable(getattr(value, "put", None)) and callable(getattr(value, "end", None)),
        "an object with put and end, such as TextStreamer",
    ),
    "timeout": (lambda value: is_number(value) and value >= 0, "seconds"),
    **dict.fromkeys(("adapter_name", "revision"), _TEXT),
    **dict.fromkeys(("save_directory", "peft_model_id", "subfolder", "config_file_name"), _PATH),
    "adapter_kwargs": (
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
        'a dict such as {"subfolder": ...}',
    ),
}


def check_values(**given: object) -> None:
    """Raise ConfigError for a value of another type or range than its keyword takes; None is taken."""
    for name, value in given.items():
        if value is not None:
            check_value(name, value)


def check_value(name: str, value: object) -> None:
    """Raise ConfigError for a value that its keyword does not take, None too."""
    fits, expected = VALUES[name]
    if not fits(value):
        # A dict may hold a token of the hub.
        found = f"of type {type(value).__name__}" if name == "adapter_kwargs" else shown(value)
        raise ConfigError(f"{name} is {found}; expected {expected}")


def dense(name: str, tensor: Tensor) -> Tensor:
    """The tensor on the CPU, as NumPy can read it. Raises InputError for one that is not dense, real and stored."""
    special = tensor.is_meta or tensor.is_quantized or tensor.is_nested or tensor.is_complex()
    if special or tensor.layout is not torch.strided:
        raise InputError(
            f"{name} is a tensor of {tensor.dtype} and {tensor.layout} on {tensor.device}"
            f"{', nested' if tensor.is_nested else ''}; expected a dense one of plain numbers"
        )
    return tensor.detach().cpu().resolve_neg()

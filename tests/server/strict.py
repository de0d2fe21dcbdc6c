"""Validates answers against the official client's own types: nothing unknown, nothing missing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import openai.types
import openai.types.chat
import openai.types.responses
import pydantic


def strictly(name: str, value: object, more: Mapping[str, Collection[str]] | None = None) -> Any:
    """`value` as the client's type of that name. `more` are fields that a class may have besides its own."""
    kind = next(
        getattr(module, name)
        for module in (openai.types.responses, openai.types.chat, openai.types)
        if hasattr(module, name)
    )
    made = pydantic.TypeAdapter(kind).validate_json(json.dumps(value), strict=True)  # "1" and true are no numbers
    _check(made, name, more or {})
    return made


def _check(value: object, path: str, more: Mapping[str, Collection[str]]) -> None:
    """Fail for a field that no type has. Validation has failed before for missing ones and other types."""
    if isinstance(value, pydantic.BaseModel):
        unknown = set(value.model_extra or ()) - set(more.get(type(value).__name__, ()))
        assert not unknown, f"{path} has the unknown fields {sorted(unknown)}"
        for field in value.model_fields_set - set(value.model_extra or ()):
            _check(getattr(value, field), f"{path}.{field}", more)
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            _check(each, f"{path}[{number}]", more)
    elif isinstance(value, dict):
        for key, each in value.items():
            _check(each, f"{path}.{key}", more)

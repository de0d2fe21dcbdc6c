"""The strict validation of the other tests lets nothing wrong pass."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from tests.server.strict import strictly

CARD = {"id": "nano", "created": 1, "owned_by": "phi4mm", "object": "model"}


@pytest.mark.parametrize("wrong", [{"created": "1"}, {"created": True}, {"id": 1}, {"object": "list"}])
def test_another_type_is_found(wrong: dict[str, Any]) -> None:
    """Lenient validation takes text and truth values for numbers."""
    assert strictly("Model", CARD).created == 1
    with pytest.raises(pydantic.ValidationError):
        strictly("Model", CARD | wrong)


def test_an_unknown_field_is_found_unless_its_class_may_have_it() -> None:
    """A name that one class may have is still unknown in all others."""
    strictly("Model", CARD | {"store": False}, {"Model": ("store",)})
    for more in ({}, {"Response": ("store",)}):
        with pytest.raises(AssertionError, match="unknown fields"):
            strictly("Model", CARD | {"store": False}, more)

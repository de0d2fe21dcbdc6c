from __future__ import annotations

import math

import pytest

from phi4mm.config.validate import closest, integer, is_integer, is_number, listed, nearest, number, one_of, shown
from phi4mm.errors import ConfigError, InputError

HUGE = 10**5000


@pytest.mark.parametrize(
    ("value", "whole", "real"),
    [
        (3, True, True),
        (3.0, False, True),
        (True, False, False),
        ("3", False, False),
        (None, False, False),
        (math.nan, False, False),
        (math.inf, False, False),
        (10**400, True, False),
    ],
)
def test_a_bool_is_no_number_and_a_number_is_finite(value: object, whole: bool, real: bool) -> None:
    """In Python True equals 1, and converting a large whole number to a float is an OverflowError."""
    assert is_integer(value) is whole
    assert is_number(value) is real


def test_a_check_says_what_was_found_and_what_was_expected() -> None:
    """The user must see which value was wrong."""
    integer("n", 3, 1, 3)
    number("p", 0.5, 0.0, 1.0)
    one_of("device", "cpu", ("auto", "cpu"))
    with pytest.raises(InputError, match="n is 4; expected a whole number from 1 to 3"):
        integer("n", 4, 1, 3)
    with pytest.raises(ConfigError, match="n is True; expected a whole number from 1 to 3"):
        integer("n", True, 1, 3, error=ConfigError)
    with pytest.raises(InputError, match="p is 0; expected a number above 0 up to 1"):
        number("p", 0, 0.0, 1.0, above=True)
    with pytest.raises(ConfigError, match="device is 'tpu'; expected one of auto, cpu"):
        one_of("device", "tpu", ("auto", "cpu"))


@pytest.mark.parametrize(
    "value", [[HUGE], "x" * 10**6, list(range(10**5)), HUGE], ids=["in a list", "text", "list", "integer"]
)
def test_a_wrong_value_of_any_size_makes_a_short_message(value: object) -> None:
    """Python raises a ValueError for long integers, in place of the message; long text would fill the screen."""
    assert len(shown(value)) <= 60
    with pytest.raises(InputError, match=r"n is .*; expected a whole number from 1 to 3") as caught:
        integer("n", value, 1, 3)
    assert len(str(caught.value)) < 120
    with pytest.raises(InputError, match=r"p is .*; expected a number from 0 to 1"):
        number("p", value, 0.0, 1.0)


def test_the_hint_for_an_unknown_name_is_the_nearest_known_one() -> None:
    """All names are listed only if none is similar."""
    known = ("temperature", "top_p")
    assert closest("temprature", known) == "temperature"
    assert closest("zzz", known) is None
    assert nearest("temprature", known) == "did you mean temperature?"
    assert nearest("zzz", known) == "expected one of temperature, top_p"


def test_case_c_a_list_of_problems_is_shown_in_part() -> None:
    """20,000 unexpected tensors were an error of 1.3 MB."""
    lines = listed(["x" * 9999] * 25).splitlines()
    assert lines[1:] == ["  " + "x" * 200] * 20 + ["  and 5 more"]
    assert listed(["a", "b"]) == "\n  a\n  b"

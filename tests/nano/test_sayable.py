"""Text that can be said."""

from __future__ import annotations

from phi4mm.nano.synth.sayable import sayable


def test_what_is_said_has_no_digits_and_no_signs_of_arithmetic() -> None:
    """Prevents digits in a transcript, and a hyphen read as minus."""
    assert sayable("What is 3 + 4?", "en") == "What is three plus four?"
    assert sayable("Was ist 21 - 5?", "de") == "Was ist einundzwanzig minus fünf?"
    assert sayable("Combien font 3*80 ?", "fr") == "Combien font trois fois quatre-vingts ?"
    assert sayable("It is 50 % well-known.", "en") == "It is fifty percent well-known."


def test_long_numbers_are_said_digit_by_digit() -> None:
    """Prevents a word for each of a million numbers."""
    assert sayable("Mi número es el 1969.", "es") == "Mi número es el uno nueve seis nueve."

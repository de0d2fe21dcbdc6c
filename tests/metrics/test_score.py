"""Word error rate, exact match and comparison of tool calls."""

from __future__ import annotations

import pytest

from phi4mm.metrics.calls import same_calls
from phi4mm.metrics.words import exact_match, is_sentence, normalise, word_error_rate, word_errors

CALL = 'functools[{"name": "set_timer", "arguments": {"minutes": 5}}]'


def test_normalising_keeps_words_and_drops_case_punctuation_and_spaces() -> None:
    """Prevents errors counted for a comma, and words joined where punctuation was removed."""
    assert normalise("  The RED-hot soup,  isn’t cold! ") == "the red hot soup isn't cold"


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("the cat sat", "the cat sat", 0),
        ("the cat sat", "the hat sat", 1),
        ("the cat sat", "the sat", 1),
        ("the cat sat", "the big cat sat", 1),
        ("the cat sat", "", 3),
        ("the cat sat", "cat the sat", 2),
        ("a b c d", "b c d e", 2),
    ],
)
def test_word_errors_are_the_fewest_edits(reference: str, hypothesis: str, errors: int) -> None:
    """Prevents comparison position by position, which counts every word after a missing one."""
    assert word_errors(reference, hypothesis) == (errors, len(reference.split()))


def test_the_error_rate_weighs_sentences_by_their_words() -> None:
    """Prevents the mean of rates, which lets short sentences dominate."""
    assert word_error_rate([("one two three four five six seven eight nine", "one"), ("ten", "ten")]) == 8 / 10


def test_an_empty_reference_has_rate_zero() -> None:
    """Prevents a division by zero on silence."""
    assert word_error_rate([("", "noise")]) == 0.0


def test_exact_match_ignores_only_case_punctuation_and_spaces() -> None:
    """Prevents a missing phrase from being accepted, and a missing full stop from being an error."""
    assert exact_match("A red circle.", "a red  circle")
    assert not exact_match("A red circle.", "A red circle on the left.")


def test_calls_are_compared_as_json_without_spacing_and_order_of_keys() -> None:
    """Prevents comparison as text, by which equal calls can differ."""
    assert same_calls(CALL, 'functools[{"arguments":{"minutes":5},"name":"set_timer"}]')
    assert same_calls(CALL, '<|tool_call|>[{"name": "set_timer", "arguments": {"minutes": 5}}]<|/tool_call|>')


@pytest.mark.parametrize(
    "answer",
    [
        CALL.replace("5", '"5"'),
        CALL.replace("5", "5.0"),
        CALL.replace("5", "15"),
        CALL.replace("minutes", "minute"),
        CALL.replace("}]", "}, {}]"),
        CALL[:-1],
        "I set a timer.",
        "",
        "functools" + "[" * 100_000,
    ],
)
def test_a_call_with_another_type_value_name_or_syntax_is_wrong(answer: str) -> None:
    """Prevents accepting strings as numbers and broken JSON, and a crash on deeply nested input."""
    assert not same_calls(CALL, answer)


def test_a_sentence_begins_with_a_capital_letter_and_ends_with_its_sign() -> None:
    """What a small model says instead, `ca ca the` or nothing, is none."""
    for text in ("Hello! How can I help you?", "¿En qué puedo ayudarte?", "Élise est là.", "I hear no sound."):
        assert is_sentence(text), text
    for text in ("", ".", "hello.", "Hello", "A.", "the the the", "One.\nTwo.", '{"name": 1}'):
        assert not is_sentence(text), text

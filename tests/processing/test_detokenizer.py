from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.processing.detokenizer import TextStream

MIXED = "aé€😀ñ"


def stream(chunks: list[bytes], stop: tuple[str, ...] = ()) -> tuple[TextStream, list[str]]:
    """Feeds chunks as tokens until stopped; returns the stream and its pieces, the one from finish last."""
    out = TextStream(lambda i: chunks[i], stop)
    pieces = [out.push(i) for i in range(len(chunks))]
    pieces.append(out.finish())
    return out, pieces


def cuts(data: bytes, places: tuple[int, ...]) -> list[bytes]:
    return [data[a:b] for a, b in itertools.pairwise((0, *places, len(data)))]


def before_stop(text: str, stop: tuple[str, ...]) -> str:
    """The rule written as slowly as possible: look at ever longer beginnings."""
    for end in range(1, len(text) + 1):
        begins = [end - len(s) for s in stop if text[:end].endswith(s)]
        if begins:
            return text[: min(begins)]
    return text


def test_every_split_of_many_byte_text_gives_the_text_and_only_whole_characters() -> None:
    """Byte-level tokens cut characters anywhere; half of one must never be shown as U+FFFD."""
    data = MIXED.encode()
    for count in range(4):
        for places in itertools.combinations(range(1, len(data)), count):
            out, pieces = stream(cuts(data, places))
            assert "".join(pieces) == out.text == MIXED
            assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_is_given_out_with_its_last_byte() -> None:
    """Holding a whole character back until the next token would delay every piece."""
    out, pieces = stream([bytes([b]) for b in "é😀".encode()])
    assert pieces == ["", "é", "", "", "", "😀", ""]
    assert not out.stopped


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    """A model can emit any byte; the stream must neither fail nor swallow what follows."""
    assert stream([b"a\xff", b"b"])[1] == ["a\ufffd", "b", ""]
    assert stream([b"a\xe2\x82"])[1] == ["a", "\ufffd"]
    assert stream([b"\xf0\x9f", b"x"])[1] == ["", "\ufffdx", ""]


@settings(deadline=None)
@given(data=st.binary(max_size=40), places=st.sets(st.integers(0, 40)))
def test_any_bytes_in_any_pieces_decode_as_they_would_at_once(data: bytes, places: set[int]) -> None:
    """The streamed text and the final text of the same tokens must be one."""
    out, pieces = stream(cuts(data, tuple(sorted(p for p in places if p <= len(data)))))
    assert "".join(pieces) == out.text == data.decode(errors="replace")


@pytest.mark.parametrize("stop", ["STOP", "é€", "\n\n"])
def test_a_stop_string_split_at_every_byte_never_shows(stop: str) -> None:
    """The beginning of a stop string that was already given out cannot be taken back."""
    data = f"one€{stop}two".encode()
    for count in (1, 2):
        for places in itertools.combinations(range(1, len(data)), count):
            out, pieces = stream(cuts(data, places), (stop,))
            assert "".join(pieces) == out.text == "one€"
            assert out.stopped
    out, pieces = stream([bytes([b]) for b in data], (stop,))
    assert "".join(pieces) == "one€"


def test_what_only_looked_like_a_stop_string_is_given_out_as_soon_as_that_is_certain() -> None:
    """Text held back for ever would be lost; held back too long would stutter."""
    assert stream([b"a<", b"|en", b"x", b"<|e"], ("<|end|>",))[1] == ["a", "", "<|enx", "", "<|e"]


def test_the_held_part_is_as_short_as_possible() -> None:
    """After "aab" of the stop "aaba", only "a" of a following "a" run may still begin it."""
    assert stream([b"aa", b"a", b"b", b"b"], ("aabb",))[1] == ["", "a", "", "", ""]
    assert stream([b"ab", b"ab", b"c"], ("ababd",))[1] == ["", "", "ababc", ""]


def test_of_overlapping_stop_strings_the_one_complete_first_ends_the_text() -> None:
    """The rule must not depend on how tokens cut the text: "bc" is complete before "abcd"."""
    for places in [(), (1,), (2,), (3,), (1, 2, 3)]:
        assert stream(cuts(b"abcd", places), ("abcd", "bc"))[0].text == "a"
        assert stream(cuts(b"abcd", places), ("abc", "bc", "c"))[0].text == ""


def test_nothing_changes_after_a_stop() -> None:
    """The engine may deliver tokens of a step that was already running."""
    out = TextStream(lambda i: [b"x.", b"more", b"\xc3"][i], (".",))
    assert [out.push(0), out.stopped, out.push(1), out.push(2), out.finish(), out.text] == ["x", True, "", "", "", "x"]


@settings(deadline=None, max_examples=300)
@given(
    text=st.text("abé", max_size=30),
    stop=st.lists(st.text("abé", min_size=1, max_size=5), max_size=4).map(tuple),
    places=st.sets(st.integers(0, 60)),
)
def test_any_text_with_any_stops_in_any_pieces_equals_the_slow_rule(
    text: str, stop: tuple[str, ...], places: set[int]
) -> None:
    """Few letters make many overlaps, where matchers go wrong."""
    data = text.encode()
    out, pieces = stream(cuts(data, tuple(sorted(p for p in places if p <= len(data)))), stop)
    assert "".join(pieces) == out.text == before_stop(text, stop)
    assert out.stopped == (out.text != text)


def test_time_is_linear_on_hostile_stop_strings() -> None:
    """64 stop strings that nearly match everywhere, 200,000 characters: seconds, not hours."""
    stop = tuple("a" * (900 + i) + "b" for i in range(64))
    out = TextStream(lambda _: b"a" * 100, stop)
    begin = time.perf_counter()
    for i in range(2000):
        out.push(i)
    out.finish()
    assert time.perf_counter() - begin < 5
    assert len(out.text) == 200_000

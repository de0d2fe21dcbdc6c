from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.processing.detokenizer import TextStream

MIXED = "aé€😀ñ"


def stream(tokens: list[bytes], stop: tuple[str, ...] = ()) -> tuple[TextStream, list[str]]:
    """Feeds all tokens; returns the stream and its pieces, with that of `finish` last."""
    out = TextStream(lambda i: tokens[i], stop)
    pieces = [out.push(i) for i in range(len(tokens))]
    pieces.append(out.finish())
    return out, pieces


def cuts(data: bytes, positions: tuple[int, ...]) -> list[bytes]:
    return [data[a:b] for a, b in itertools.pairwise((0, *positions, len(data)))]


def before_stop(text: str, stop: tuple[str, ...]) -> str:
    """A slow reference: tests every beginning of the text, the shortest first."""
    for end in range(1, len(text) + 1):
        begins = [end - len(s) for s in stop if text[:end].endswith(s)]
        if begins:
            return text[: min(begins)]
    return text


def test_every_split_of_multi_byte_text_gives_only_whole_characters() -> None:
    """Byte-level tokens can split characters anywhere; half a character must never be shown as U+FFFD."""
    data = MIXED.encode()
    for count in range(4):
        for positions in itertools.combinations(range(1, len(data)), count):
            out, pieces = stream(cuts(data, positions))
            assert "".join(pieces) == out.text == MIXED
            assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_is_returned_with_its_last_byte() -> None:
    """Waiting for the next token would delay every piece."""
    out, pieces = stream([bytes([b]) for b in "é😀".encode()])
    assert pieces == ["", "é", "", "", "", "😀", ""]
    assert not out.stopped


def test_invalid_bytes_become_replacement_characters() -> None:
    """A model can produce any byte; the stream must neither fail nor lose the text that follows."""
    assert stream([b"a\xff", b"b"])[1] == ["a\ufffd", "b", ""]
    assert stream([b"a\xe2\x82"])[1] == ["a", "\ufffd"]
    assert stream([b"\xf0\x9f", b"x"])[1] == ["", "\ufffdx", ""]


@settings(deadline=None)
@given(data=st.binary(max_size=40), positions=st.sets(st.integers(0, 40)))
def test_any_split_of_any_bytes_decodes_as_the_whole(data: bytes, positions: set[int]) -> None:
    """The streamed text and the final text of the same tokens must be equal."""
    out, pieces = stream(cuts(data, tuple(sorted(p for p in positions if p <= len(data)))))
    assert "".join(pieces) == out.text == data.decode(errors="replace")


@pytest.mark.parametrize("stop", ["STOP", "é€", "\n\n"])
def test_a_stop_string_split_anywhere_is_never_returned(stop: str) -> None:
    """The start of a stop string cannot be taken back once it was returned."""
    data = f"one€{stop}two".encode()
    for count in (1, 2):
        for positions in itertools.combinations(range(1, len(data)), count):
            out, pieces = stream(cuts(data, positions), (stop,))
            assert "".join(pieces) == out.text == "one€"
            assert out.stopped
    out, pieces = stream([bytes([b]) for b in data], (stop,))
    assert "".join(pieces) == "one€"


def test_text_that_only_began_like_a_stop_string_is_returned_as_soon_as_possible() -> None:
    """It must not be lost, and not be held back longer than necessary."""
    assert stream([b"a<", b"|en", b"x", b"<|e"], ("<|end|>",))[1] == ["a", "", "<|enx", "", "<|e"]


def test_the_held_part_is_as_short_as_possible() -> None:
    """Only the longest suffix that may still be the start of the stop string is held back."""
    assert stream([b"aa", b"a", b"b", b"b"], ("aabb",))[1] == ["", "a", "", "", ""]
    assert stream([b"ab", b"ab", b"c"], ("ababd",))[1] == ["", "", "ababc", ""]


def test_of_overlapping_stop_strings_the_one_complete_first_ends_the_text() -> None:
    """The result must not depend on how tokens split the text: "bc" is complete before "abcd"."""
    for positions in [(), (1,), (2,), (3,), (1, 2, 3)]:
        assert stream(cuts(b"abcd", positions), ("abcd", "bc"))[0].text == "a"
        assert stream(cuts(b"abcd", positions), ("abc", "bc", "c"))[0].text == ""


def test_nothing_changes_after_a_stop() -> None:
    """The engine may deliver tokens of a step that was already running."""
    out = TextStream(lambda i: [b"x.", b"more", b"\xc3"][i], (".",))
    assert [out.push(0), out.stopped, out.push(1), out.push(2), out.finish(), out.text] == ["x", True, "", "", "", "x"]


@settings(deadline=None, max_examples=300)
@given(
    text=st.text("abé", max_size=30),
    stop=st.lists(st.text("abé", min_size=1, max_size=5), max_size=4).map(tuple),
    positions=st.sets(st.integers(0, 60)),
)
def test_any_text_stop_strings_and_split_equal_the_slow_reference(
    text: str, stop: tuple[str, ...], positions: set[int]
) -> None:
    """With few letters there are many overlaps, in which matchers can go wrong."""
    data = text.encode()
    out, pieces = stream(cuts(data, tuple(sorted(p for p in positions if p <= len(data)))), stop)
    assert "".join(pieces) == out.text == before_stop(text, stop)
    assert out.stopped == (out.text != text)


def test_time_is_linear_on_hostile_stop_strings() -> None:
    """64 stop strings that nearly match everywhere in 200,000 characters must take seconds, not hours."""
    stop = tuple("a" * (900 + i) + "b" for i in range(64))
    out = TextStream(lambda _: b"a" * 100, stop)
    begin = time.perf_counter()
    for i in range(2000):
        out.push(i)
    out.finish()
    assert time.perf_counter() - begin < 5
    assert len(out.text) == 200_000

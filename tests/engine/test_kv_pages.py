"""Pages and encoder outputs: none is lost, and none is shared by prompts that differ."""

from __future__ import annotations

import itertools
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.engine.encoder_cache import EncoderCache, MediaKey
from phi4mm.engine.kv_pages import Content, PagePool, page_content
from phi4mm.engine.request import Request
from phi4mm.protocol.inputs import AudioFrames, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams

TOTAL = 12
FRAMES = AudioFrames(np.zeros((8, 80), np.float32), 0.1)


def text(*tokens: int) -> Content:
    return tokens, ()


class Sequences:
    """A model of sequences that start, grow and end. It records what each page contains."""

    def __init__(self) -> None:
        self.pool = PagePool(TOTAL)
        self.sequences: list[tuple[list[int], list[int], list[int]]] = []  # pages, nodes, content of each page
        self.filled: dict[int, tuple[int, ...]] = {}  # page -> the prefix that ends with it

    def begin(self, contents: list[int]) -> None:
        pages, nodes = self.pool.match("root", (text(content) for content in contents))
        for n, page in enumerate(pages):
            assert self.filled[page] == tuple(contents[: n + 1]), "a page was found for another prefix"
        taken = self.pool.take(len(contents) - len(pages))
        if taken is None:
            self.pool.release(pages)
            return
        self.sequences.append((pages + taken, nodes, contents))

    def run(self, number: int) -> None:
        """Fill the sequence's next page and publish it."""
        pages, nodes, contents = self.sequences[number]
        n = len(nodes)
        if n == len(pages):
            return
        prefix = tuple(contents[: n + 1])
        before = self.filled.get(pages[n])
        self.filled[pages[n]] = prefix
        page, node = self.pool.cache_page(nodes[-1] if nodes else "root", text(contents[n]), pages[n])
        if page != pages[n]:
            self.filled.pop(pages[n])
        assert self.filled[page] == prefix, f"published over {before}"
        pages[n] = page
        nodes.append(node)

    def end(self, number: int) -> None:
        self.pool.release(self.sequences.pop(number)[0])


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.lists(st.integers(0, 1), min_size=1, max_size=5)),
        st.tuples(st.just("run"), st.integers(0, 9)),
        st.tuples(st.just("end"), st.integers(0, 9)),
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=300)
@given(ACTIONS)
def test_free_held_and_cached_pages_add_up_and_no_page_is_found_for_another_prefix(
    actions: list[tuple[str, list[int] | int]],
) -> None:
    """Leaked pages stop the engine after a day; a wrong page gives an answer to another prompt."""
    sequences = Sequences()
    for action, value in actions:
        if isinstance(value, list):
            sequences.begin(value)
        elif sequences.sequences:
            (sequences.run if action == "run" else sequences.end)(value % len(sequences.sequences))
        pool = sequences.pool
        assert pool.free + pool.held + pool.cached == TOTAL
        assert pool.held == len({page for pages, _, _ in sequences.sequences for page in pages})
        assert pool.available == TOTAL - pool.held
    while sequences.sequences:
        sequences.end(0)
    assert (sequences.pool.held, sequences.pool.available) == (0, TOTAL)
    taken = sequences.pool.take(TOTAL)
    assert taken is not None
    assert sorted(taken) == list(range(TOTAL)), "a page was lost or given twice"


def test_the_last_pages_of_a_sequence_are_evicted_first() -> None:
    """If the first page were evicted first, the others would stay in memory and never be found."""
    pool = PagePool(3)
    pages = pool.take(3)
    assert pages is not None
    parent: Hashable = "root"
    for n, page in enumerate(pages):
        _, parent = pool.cache_page(parent, text(n), page)
    pool.release(pages)
    pool.take(1)
    found, _ = pool.match("root", [text(0), text(1), text(2)])
    assert found == pages[:2]


def test_releasing_a_page_twice_fails() -> None:
    """Two sequences would be given the same page."""
    pool = PagePool(2)
    pages = pool.take(1)
    assert pages is not None
    pool.release(pages)
    with pytest.raises(AssertionError, match="no request holds it"):
        pool.release(pages)


def request(start: int, digest: bytes, length: int = 3) -> Request:
    span = MediaSpan("audio", start, length, digest, FRAMES)
    return Request("r", Prompt((1, 9, 9, 9, 9, 9, 2, 3), (span,)), SamplingParams())


def test_pages_with_equal_placeholders_differ_by_media_item_and_its_start() -> None:
    """All images have the same placeholder ids, and a page may start in the middle of an image."""
    contents = [
        page_content(request(start, digest), page, 4)
        for start, digest, page in itertools.product((1, 2), (b"a" * 32, b"b" * 32), (0, 1))
    ]
    # Page 1 does not overlap the span that starts at 1, so it is equal for both digests.
    assert contents[1] == contents[3] == ((9, 9, 2, 3), ())
    distinct = [contents[n] for n in (0, 1, 2, 4, 5, 6, 7)]
    assert len(set(distinct)) == len(distinct)


KEYS: list[MediaKey] = [(bytes([n]) * 32, "audio", "speech", 0) for n in range(5)]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["hold", "put", "release"]), st.integers(0, 4)), max_size=60))
def test_held_encoder_outputs_stay_and_the_cache_never_exceeds_its_capacity(actions: list[tuple[str, int]]) -> None:
    """An output evicted during a prefill would be missing; outputs that are never evicted would fill the memory."""
    cache: EncoderCache[str] = EncoderCache(10)
    held: list[int] = []
    for action, n in actions:
        distinct = set(held) | {n}
        if action == "hold" and sum(k + 1 for k in distinct) <= 10:
            cache.reserve(KEYS[n], n + 1)
            held.append(n)
        elif action == "put" and n in held:
            cache.store(KEYS[n], f"output {n}")
        elif action == "release" and n in held:
            known = cache.has(KEYS[n])
            cache.release(KEYS[n])
            held.remove(n)
            assert cache.has(KEYS[n]) == known
        assert cache.used <= cache.capacity
        assert cache.held == sum(k + 1 for k in set(held))
        for k in set(held):
            assert not cache.has(KEYS[k]) or cache.get(KEYS[k]) == f"output {k}"

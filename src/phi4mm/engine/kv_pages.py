"""Pages of keys and values: which requests hold them and what they contain. Plain numbers, no torch.

A page is free, held by requests, or cached: held by no request, its content known, kept until room is needed. The key
of a full page is the node of the page before it and its own tokens and media, so equal keys mean equal prefixes:

    node = (parent node, content of this page)        parent of the first page: adapter, weights, rotary table

Keys are compared whole; a hash only finds them. A page's parent is used whenever the page is, so it is evicted later.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

from phi4mm.engine.encoder_cache import MediaKey
from phi4mm.engine.request import Request

Content: TypeAlias = tuple[tuple[int, ...], tuple[tuple[MediaKey, int], ...]]
Key: TypeAlias = tuple[Hashable, Content]


def page_content(request: Request, page: int, page_size: int) -> Content:
    """What a full page of a request holds: token ids, and (key, offset of the first placeholder) of its media items."""
    start, end = page * page_size, (page + 1) * page_size
    media = tuple(
        (request.media_key(span), span.start - start)
        for span in request.prompt.spans
        if span.start < end and start < span.start + span.length
    )
    return tuple(request.tokens(start, end)), media


class PagePool:
    """A fixed number of pages with reference counts. At all times free + held + cached = total."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))
        self._holders = [0] * total
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._known: dict[Key, tuple[int, int]] = {}  # key -> page, node
        self._keys: dict[int, Key] = {}  # page -> key
        self._nodes = itertools.count()

    @property
    def free(self) -> int:
        """Pages with nothing in them."""
        return len(self._free)

    @property
    def cached(self) -> int:
        """Pages that no request holds and whose content is known."""
        return len(self._cached)

    @property
    def held(self) -> int:
        """Pages that requests hold; a shared one counts once."""
        return sum(count > 0 for count in self._holders)

    @property
    def available(self) -> int:
        """Pages that `take` can return: the free and the cached ones."""
        return len(self._free) + len(self._cached)

    def match(self, root: Hashable, contents: Iterable[Content]) -> tuple[list[int], list[int]]:
        """Pages and nodes of the longest cached prefix. Adds one hold to each of the pages."""
        pages: list[int] = []
        nodes: list[int] = []
        parent = root
        for content in contents:
            entry = self._known.get((parent, content))
            if entry is None:
                break
            page, parent = entry
            self._hold(page)
            pages.append(page)
            nodes.append(parent)
        return pages, nodes

    def take(self, count: int) -> list[int] | None:
        """`count` pages, held, with no content; None, and nothing taken, when fewer are available."""
        if count > self.available:
            return None
        pages = [self._free.pop() if self._free else self._evict() for _ in range(count)]
        for page in pages:
            self._holders[page] = 1
        return pages

    def cache_page(self, parent: Hashable, content: Content, page: int) -> tuple[int, int]:
        """Put a held full page into the cache. Returns (page, node): this page, or a cached one of the same content."""
        key = (parent, content)
        if key in self._known:
            known, node = self._known[key]
            self._hold(known)
            self.release([page])
            return known, node
        node = next(self._nodes)
        self._known[key] = page, node
        self._keys[page] = key
        return page, node

    def release(self, pages: Sequence[int]) -> None:
        """Release one hold on each page of a request. `pages` are in the order of the sequence."""
        for page in reversed(pages):  # the last page of a sequence is evicted first
            assert self._holders[page] > 0, f"page {page} is released and no request holds it"
            self._holders[page] -= 1
            if self._holders[page] == 0:
                if page in self._keys:
                    self._cached[page] = None
                else:
                    self._free.append(page)

    def reset_prefix_cache(self) -> None:
        """Forget all contents: cached pages become free, and held ones are no longer found by other requests."""
        self._free += self._cached
        self._cached.clear()
        self._known.clear()
        self._keys.clear()

    def _hold(self, page: int) -> None:
        self._cached.pop(page, None)
        self._holders[page] += 1

    def _evict(self) -> int:
        page, _ = self._cached.popitem(last=False)
        del self._known[self._keys.pop(page)]
        return page

"""docs/guide/compat.md lists every keyword, and the code does with each what the page says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import phi4mm.compat
from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, AutoTokenizer
from phi4mm.compat.arrays import NAMES
from phi4mm.compat.generation_config import OPTIONS
from phi4mm.compat.keywords import ALL, Keywords
from phi4mm.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "compat.md"
CALLS: dict[str, tuple[Callable[..., Any], ...]] = {
    "AutoModelForCausalLM.from_pretrained": (AutoModelForCausalLM.from_pretrained,),
    "AutoProcessor.from_pretrained": (AutoProcessor.from_pretrained,),
    "AutoTokenizer.from_pretrained": (AutoTokenizer.from_pretrained,),
    "processor()": (AutoProcessor.__call__,),
    "tokenizer()": (AutoTokenizer.__call__,),
    "apply_chat_template": (AutoTokenizer.apply_chat_template, AutoProcessor.apply_chat_template),
    "decode": (AutoTokenizer.decode,),
    "generate": (AutoModelForCausalLM.generate,),
    "model()": (AutoModelForCausalLM.__call__,),
    "save_pretrained": (AutoTokenizer.save_pretrained, AutoModelForCausalLM.save_pretrained),
}
OBJECTS: dict[str, Any] = {"model": AutoModelForCausalLM, "processor": AutoProcessor, "tokenizer": AutoTokenizer}


def rows(section: str) -> list[tuple[tuple[str, ...], str, str]]:
    """Names, status and note of each row of the table under a heading of the page."""
    text = re.split(rf"^## {re.escape(section)}$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    lines = [line for line in re.split(r"^## ", text, flags=re.MULTILINE)[0].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [(tuple(re.findall(r"`([^`]+)`", names)), status, note) for names, status, note in cells]


def works(call: str) -> set[str]:
    """The parameters of a call that have an effect."""
    names: set[str] = set()
    for function in CALLS[call]:
        kinds = inspect.signature(function).parameters.values()
        names |= {p.name for p in kinds if p.kind is not p.VAR_KEYWORD} - {"self"}
    extra = {"generate": (*NAMES, *OPTIONS), "model()": NAMES}
    return names | set(extra.get(call, ()))


@pytest.mark.parametrize("keywords", ALL, ids=lambda keywords: keywords.call)
def test_the_page_and_the_code_say_the_same(keywords: Keywords) -> None:
    """Every keyword has one row, with the code's reason or advice."""
    found = {status: [(names, note) for names, s, note in rows(f"`{keywords.call}`") if s == status] for status in
             ("works", "no effect", "refused")}  # fmt: skip
    assert sum(map(len, found.values())) == len(rows(f"`{keywords.call}`"))
    assert {name for names, _ in found["works"] for name in names} == works(keywords.call)
    assert dict(found["no effect"]) == dict(keywords.without_effect)
    advice = {names: instead for names, (_, instead) in keywords.refused.items()}
    assert {names: note.partition(" (taken: ")[0] for names, note in found["refused"]} == advice


def test_every_call_is_on_the_page() -> None:
    """A table that nobody sees helps nobody."""
    assert [keywords.call for keywords in ALL] == list(CALLS)
    headings = re.findall(r"^## `(.+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == list(CALLS)


@pytest.mark.parametrize("keywords", ALL, ids=lambda keywords: keywords.call)
def test_what_the_tables_refuse_is_refused_by_name(keywords: Keywords) -> None:
    """With what to do instead. Values that ask for nothing are taken, and so is what has no effect."""
    for names in keywords.without_effect:
        keywords.check(dict.fromkeys(names, object()))
    for names, (neutral, instead) in keywords.refused.items():
        for name in names:
            for value in (None, *neutral):
                keywords.check({name: value})
            with pytest.raises(
                ConfigError, match=rf"^{re.escape(keywords.call)}: {name}(=\[1\])? is not supported; "
            ) as found:
                keywords.check({name: [1]})
            assert str(found.value).endswith(instead)
            secret = "tokenization" not in name and any(word in name for word in ("token", "key", "secret"))
            assert ("=[1]" in str(found.value)) != secret
    with pytest.raises(ConfigError, match=rf"{re.escape(keywords.call)}: unknown keyword surprise; "):
        keywords.check({"surprise": None})


def test_names_of_the_page_are_there_or_not(processor: AutoProcessor, model: AutoModelForCausalLM) -> None:
    """What a script imports, and what it calls on the three objects."""
    for names, status, note in rows("Names"):
        for name in names:
            object_, _, attribute = name.rpartition(".")
            owner = {"model": model, "processor": processor, "tokenizer": processor.tokenizer, "": phi4mm.compat}[
                object_
            ]
            assert hasattr(owner, attribute) == (status == "works"), name
            if owner is phi4mm.compat and status == "refused":
                with pytest.raises(AttributeError, match=re.escape(f"phi4mm.compat has no {name}; {note}")):
                    getattr(owner, name)
    listed = {name for names, status, _ in rows("Names") if status == "works" for name in names}
    assert set(phi4mm.compat.__all__) <= listed
    for kind, owner in OBJECTS.items():
        public = {f"{kind}.{name}" for name in vars(owner) if not name.startswith("_")}
        assert public - {f"{kind}.from_pretrained", "tokenizer.text_stream"} <= listed

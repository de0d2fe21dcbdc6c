"""docs/glossary.md explains every term that a public name is made of."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import phi4mm
from phi4mm.api import Model
from phi4mm.cli.main import COMMANDS

GLOSSARY = Path(__file__).parent.parent / "docs" / "glossary.md"
ENTRY = re.compile(r"^- ((?:\*\*[^*\n]+\*\*(?:, )?)+)", re.MULTILINE)
# Words that mean here what they mean everywhere; an entry would only repeat them.
EVERYDAY = frozenset(
    "add arguments close concurrent content description folder id ids json max move name num out parameters remove "
    "source text threads turns what".split()
)


def public_names() -> Iterator[tuple[str, str]]:
    """(where it is seen, the name): classes, their fields and methods, parameters, commands and their flags."""
    for name in phi4mm.__all__:
        value = getattr(phi4mm, name)
        yield "phi4mm", name
        yield from ((f"{name}()", parameter) for parameter in parameters(value))
        if inspect.isclass(value):
            yield from members(value)
    yield from members(Model)
    for command in COMMANDS:
        yield "phi4mm", command
        parser = argparse.ArgumentParser(add_help=False)
        importlib.import_module(f"phi4mm.cli.{command}").configure(parser)
        for action in parser._actions:
            yield from ((f"phi4mm {command}", flag.strip("-")) for flag in action.option_strings if flag[:2] == "--")
            if not action.option_strings:
                yield f"phi4mm {command}", action.dest


def members(value: type) -> Iterator[tuple[str, str]]:
    """Fields of a dataclass, and public methods and properties with their parameters."""
    if dataclasses.is_dataclass(value):
        yield from ((value.__name__, field.name) for field in dataclasses.fields(value))
    for name, member in inspect.getmembers(value):
        if name.startswith("_") or getattr(Exception, name, None) is member:
            continue
        yield value.__name__, name
        if inspect.isfunction(member) or inspect.ismethod(member):
            yield from ((f"{value.__name__}.{name}()", parameter) for parameter in parameters(member))


def parameters(function: object) -> list[str]:
    try:
        return [name for name in inspect.signature(function).parameters if name not in ("self", "args", "kwargs")]  # type: ignore[arg-type]
    except ValueError:  # a class of C without a signature
        return []


def words(name: str) -> list[str]:
    """`EngineArgs`, `max_num_seqs` and `top-k` in small words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.split(r"[ _-]+", spaced.lower().strip("_- "))


def entries() -> list[str]:
    text = GLOSSARY.read_text(encoding="utf-8")
    return [term.strip("`") for line in ENTRY.findall(text) for term in re.findall(r"\*\*([^*]+)\*\*", line)]


def explained(name: str, terms: set[tuple[str, ...]]) -> bool:
    """Whether the name has an entry, or is made of terms that have one and of everyday words."""
    left = words(name)
    while left:
        sizes = [n for n in range(len(left), 0, -1) if singular(left[:n]) in terms]
        if not sizes and left[0] not in EVERYDAY:
            return False
        left = left[(sizes or [1])[0] :]
    return True


def singular(parts: list[str]) -> tuple[str, ...]:
    return tuple(part.removesuffix("s") for part in parts)


def test_every_public_name_is_made_of_terms_that_the_glossary_explains() -> None:
    """A reader who meets a word in the interface finds it explained in one place."""
    terms = {singular(words(term)) for term in entries()}
    missing = sorted({f"{name} ({where})" for where, name in public_names() if not explained(name, terms)})
    assert missing == []


def test_no_term_has_two_entries() -> None:
    """Two explanations drift apart."""
    terms = entries()
    assert sorted({term for term in terms if terms.count(term) > 1}) == []


def test_entries_are_sorted_within_their_section() -> None:
    """A glossary is searched by the alphabet."""
    sections = re.split(r"^## .*$", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for section in sections:
        firsts = [re.findall(r"\*\*`?([^*`]+)", line)[0].lower() for line in ENTRY.findall(section)]
        assert firsts == sorted(firsts)

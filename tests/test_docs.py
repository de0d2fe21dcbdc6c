"""The documents agree with each other and with the files that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
HEADER = re.compile(
    r"# (?P<number>\d{4}): (?P<title>[^\n]+)\n\n"
    r"- Date: (?P<date>\d{4}-\d\d-\d\d)\n"
    r"- Status: (?P<status>accepted|(?:amended|superseded) by (?P<by>\d{4}|docs/architecture\.md))\n"
    r"(?:- Amends: (?P<amends>\d{4}(?:, \d{4})*)\n)?\n"
)
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name not in ("README.md", "CHANGELOG.md") or path.parent != ROOT
)
FOLDERS = ("src/phi4mm", "tests", "bench", "docs", "examples")


def headers() -> dict[str, re.Match[str]]:
    found = {path.name: HEADER.match(path.read_text(encoding="utf-8")) for path in RECORDS}
    assert [name for name, header in found.items() if header is None] == []
    return {header["number"]: header for header in found.values() if header is not None}


def test_decisions_are_numbered_once_and_without_gaps() -> None:
    """Two records of one number would make each citation of it mean either."""
    assert [path.name[:4] for path in RECORDS] == [f"{n:04}" for n in range(1, len(RECORDS) + 1)]
    assert list(headers()) == [path.name[:4] for path in RECORDS]


def test_the_index_of_decisions_is_that_of_the_records() -> None:
    """Who reads the index alone must not take a superseded choice for one that holds."""
    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+?) \| (\S+) \| (.+?) \| .+ \|$", index(), flags=re.MULTILINE)
    expected = [
        (header["number"], path.name, header["title"], header["date"], header["status"])
        for path, header in zip(RECORDS, headers().values(), strict=True)
    ]
    assert rows == expected


def test_a_decision_and_the_one_that_amends_it_name_each_other() -> None:
    """A record that is no longer true, and does not say so, is believed."""
    records = headers()
    said = {(header["by"], number) for number, header in records.items() if (header["by"] or "docs")[0].isdigit()}
    meant = {(n, old) for n, header in records.items() for old in (header["amends"] or "").split(", ") if old}
    assert said == meant
    assert [pair for pair in said if not pair[0] > pair[1]] == []
    assert [n for n, header in records.items() if header["amends"] and header["date"] < records[n]["date"]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """A guide that sends its reader to a file that was moved ends there."""
    text = page.read_text(encoding="utf-8")
    if "docs/decisions/0001" in str(page) or "docs/decisions/0002" in str(page):
        text = text.partition("**Afterwards.**")[2]  # what was before names files that are gone
    named = set(re.findall(r"`((?!\S*NAME)[\w./-]+/[\w.-]+\.(?:py|c|h|md|toml|json))`", text))
    assert sorted(name for name in named if not is_there(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Within the repository: a file, and a heading in it where the link names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_sections_that_comments_cite_are_there() -> None:
    """A comment may cite `docs/numerics.md, "LongRoPE"`: the section must be found under that name."""
    cited = [
        (str(path.relative_to(ROOT)), page, section)
        for folder in ("src", "tests", "bench")
        for path in (ROOT / folder).rglob("*.[pch]*")
        if path.suffix in (".py", ".c", ".h") and path != Path(__file__)
        for page, section in re.findall(r'(docs/[\w-]+\.md), "([^"\n]+)"', path.read_text(encoding="utf-8"))
    ]
    wrong = [entry for entry in cited if slug(entry[2]) not in anchors((ROOT / entry[1]).read_text(encoding="utf-8"))]
    assert wrong == []


def index() -> str:
    return (DECISIONS / "README.md").read_text(encoding="utf-8")


def is_there(name: str) -> bool:
    return (ROOT / name).exists() or any((ROOT / folder / name).exists() for folder in FOLDERS)


def anchors(text: str) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}


def slug(heading: str) -> str:
    """The anchor that a heading gets: lower case, letters, digits and hyphens."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")

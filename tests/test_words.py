"""Words that left the project (docs/glossary.md has those that stayed) do not come back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUFFIXES = {".py", ".c", ".h", ".md", ".toml", ".sh"}
# What became of each: see the changelog and the glossary. Prompts and seeds of nano's world keep their letters.
LEFT = {
    "picture": "image",
    "pictures": "images",
    "recording": "audio clip, utterance",
    "recordings": "audio clips, utterances",
    "medium": "media item",
    "guess": "proposed token",
    "guesses": "proposed tokens",
    "guessed": "proposed",
    "draft_tokens": "num_speculative_tokens",
    "drafted": "proposed",
    "Limits": "EngineArgs",
    "max_rows": "max_num_seqs",
    "chunk_tokens": "max_num_batched_tokens",
    "page_tokens": "page_size",
    "max_queue": "max_waiting",
    "MediaCache": "EncoderCache",
    "widen": "upcast",
    "widens": "upcasts",
    "widened": "upcast",
    "twin": "native kernel",
    "layers_in_c": "fused decoder",
    "large pages": "huge pages",
    "hollow": "empty",
    "hollow_out": "make_empty",
    "settle": "plan_kv_cache",
    "stranger": "untrusted input",
    "strangers": "untrusted input",
    "door": "entry point",
    "media marks": "media tags",
    "encoder rows": "encoder outputs",
    "media rows": "media embeddings",
}
PATTERN = re.compile(r"(?<![\w`])(" + "|".join(sorted(LEFT, key=len, reverse=True)) + r")(?!\w)")
# Where the words are data or what is spoken of: nano's world and its random seeds, the changes of names.
SPOKEN_OF = (
    *("src/phi4mm/nano/synth/", "src/phi4mm/nano/assets/", "src/phi4mm/nano/batches.py"),
    "src/phi4mm/nano/recipe.toml",
    *("src/phi4mm/nano/evaluation.py", "tests/nano/"),
    *("tests/test_words.py", "CHANGELOG.md"),
)


def files() -> Iterator[Path]:
    """Text files that belong to the project: those of git, or of an unpacked sdist."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if listed.returncode == 0:
        names = [ROOT / name for name in listed.stdout.splitlines()]
    else:
        names = [
            path for folder in ("src", "tests", "bench", "docs", "examples") for path in (ROOT / folder).rglob("*")
        ]
        names += ROOT.glob("*.md")
    yield from (path for path in names if path.suffix in SUFFIXES and path.is_file())


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_that_left_do_not_come_back(path: Path) -> None:
    """A reader would look for the field's word and not find it."""
    if str(path.relative_to(ROOT)).startswith(SPOKEN_OF):
        return
    found = [
        f"{number}: {match[0]}, now {LEFT[match[0]]}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in PATTERN.finditer(line)
    ]
    assert not found, "\n".join(found)

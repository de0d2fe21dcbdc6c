"""Files that are no small JSON files, wherever one is read: a short word at once, no hang and no full memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi4mm.config.json_file import MAX_JSON_BYTES, read_json, read_json_as
from phi4mm.config.load import load_config
from phi4mm.errors import ConfigError, InputError

# Run apart from the tests, within bounds of memory and time: what is guarded against is a hang or a full memory.
COMMANDS = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from phi4mm.cli.main import main
print(json.dumps([main(argv) for argv in json.loads(sys.argv[1])]))
"""


def odd_file(kind: str, path: Path) -> Path:
    """A file that never gives an end, under this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_file_without_end_is_refused_by_every_command_that_reads_one(kind: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to hung the command for ever; a link to /dev/zero took all memory."""
    given = str(odd_file(kind, tmp_path / "given"))
    model = odd_file(kind, tmp_path / "model" / "config.json").parent
    ask = ["run", "nano", "-p", "hi"]
    commands = [
        [*ask, "--tools", given],
        [*ask, "--schema", given],
        ["verify", "nano", "--golden", given],
        ["run", str(model), "-p", "hi"],
        ["inspect", str(model)],
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
    )
    assert json.loads(done.stdout or "null") == [1] * len(commands), done.stderr
    lines = done.stderr.splitlines()
    expected = [given, given, given, str(model / "config.json"), str(model / "config.json")]
    assert [f"{path} is not a regular file; expected" in line for path, line in zip(expected, lines, strict=True)] == [
        True
    ] * len(commands)


@pytest.mark.parametrize("digits", ["9" * 100_000, "-" + "9" * 100_000, "[" + "9" * 100_000 + "]"])
def test_a_whole_number_of_too_many_digits_is_an_error_of_the_file(digits: str, tmp_path: Path) -> None:
    """Python refuses to read it with a ValueError of its own, which ended in a traceback."""
    (tmp_path / "config.json").write_text(f'{{"hidden_size": {digits}}}')
    with pytest.raises(ConfigError, match=r"config.json cannot be read as JSON: .*digits"):
        load_config(tmp_path)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte takes no room on the disk, and all of it in memory."""
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match=f"has {2**40} bytes; expected a JSON object of at most {MAX_JSON_BYTES}"):
        read_json(path)


def test_the_message_says_what_the_file_should_hold(tmp_path: Path) -> None:
    """The same reader serves tools, schemas and configurations; each caller's own words and error come out."""
    path = tmp_path / "tools.json"
    with pytest.raises(InputError, match=r"tools.json not found; expected a list of tools"):
        read_json_as(path, list, "a list of tools", InputError)
    path.mkdir()
    with pytest.raises(InputError, match=r"tools.json is not a regular file; expected a list of tools"):
        read_json_as(path, list, "a list of tools", InputError)
    with pytest.raises(InputError, match=r"cannot be read: Not a directory; expected a list of tools"):
        read_json_as(Path(__file__) / "tools.json", list, "a list of tools", InputError)
    with pytest.raises(InputError, match=r"cannot be read: (stat: )?embedded null .*; expected a list of tools"):
        read_json_as(Path("a\0b"), list, "a list of tools", InputError)


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    """The cache of a model hub consists of links."""
    (tmp_path / "blob").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    assert read_json(tmp_path / "config.json") == {"a": 1}

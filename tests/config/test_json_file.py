"""Files that are not small JSON files, wherever one is read: an error at once, no hang and no full memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from phi4mm.checkpoint.hub import resolve
from phi4mm.config.json_file import MAX_JSON_BYTES, read_json, read_json_as
from phi4mm.config.load import load_config
from phi4mm.errors import ConfigError, InputError

# Run in another process with limits of memory and time, since a failure would be a hang or a full memory.
COMMANDS = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from phi4mm.cli.main import main
print(json.dumps([main(argv) for argv in json.loads(sys.argv[1])]))
"""


def odd_file(kind: str, path: Path) -> Path:
    """Create a file of this name that never ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    return path


def failed(commands: list[list[str]]) -> list[str]:
    """What commands write to stderr that all fail."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
    )
    assert json.loads(done.stdout or "null") == [1] * len(commands), done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_case_b4_a_file_without_end_is_refused_by_every_command_that_reads_one(kind: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to blocked the command for ever; a link to /dev/zero filled the memory."""
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
    lines = failed(commands)
    expected = [given, given, given, str(model / "config.json"), str(model / "config.json")]
    assert [f"{path} is not a regular file; expected" in line for path, line in zip(expected, lines, strict=True)] == [
        True
    ] * len(commands)


def test_case_b4_each_file_of_a_model_must_be_regular(tmp_path: Path) -> None:
    """tokenizer.json was read in another way, for ever; a pipe in the place of other files was taken for no file."""
    names = ("tokenizer.json", "generation_config.json", "preprocessor_config.json", "model.safetensors")
    folders = []
    for name, kind in product(names, ("pipe", "device")):
        folders.append(tmp_path / kind / name)
        shutil.copytree(resolve("nano"), folders[-1], ignore=lambda _, found, name=name: {name} & {*found})
        odd_file(kind, folders[-1] / name)
    lines = failed([["run", str(folder), "-p", "hi"] for folder in folders])
    for folder, line in zip(folders, lines, strict=True):
        assert f"{folder / folder.name} is not a regular file; expected" in line


@pytest.mark.parametrize("digits", ["9" * 100_000, "-" + "9" * 100_000, "[" + "9" * 100_000 + "]"])
def test_case_b5_a_whole_number_of_too_many_digits_is_an_error_of_the_file(digits: str, tmp_path: Path) -> None:
    """Python raises a ValueError for it, which gave a traceback."""
    (tmp_path / "config.json").write_text(f'{{"hidden_size": {digits}}}')
    with pytest.raises(
        ConfigError, match=r"config.json holds a whole number of too many digits; expected a JSON object$"
    ):
        load_config(tmp_path)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte takes no space on the disk, but would in memory."""
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match=f"has {2**40} bytes; expected a JSON object of at most {MAX_JSON_BYTES}"):
        read_json(path)


def test_the_message_says_what_the_file_should_contain(tmp_path: Path) -> None:
    """Tools, schemas and configurations are read by one function, with each caller's error and expected content."""
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


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    """The cache of a model hub consists of links."""
    (tmp_path / "blob").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    assert read_json(tmp_path / "config.json") == {"a": 1}

"""What the settings refuse before the server says that it serves, and how their values are read."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phi4mm.cli.main import load
from phi4mm.cli.serve import check_files
from phi4mm.errors import ConfigError
from phi4mm.server.settings import ServerSettings, read_settings
from tests.server.conftest import SRC

COMMAND = [sys.executable, "-m", "phi4mm", "serve", "nano", "--port", "0"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}


def test_an_empty_variable_is_as_good_as_none() -> None:
    """Compose files pass variables on that nobody has set."""
    settings, _, sources = read_settings({}, {"PHI4MM_PORT": "", "PHI4MM_API_KEY": " ", "PHI4MM_WITHOUT_KEY": ""})
    assert (settings, sources) == (ServerSettings(), {})


def test_keys_and_entries_of_lists_are_trimmed() -> None:
    """A secret that is read from a file ends with a line break, which no client sends."""
    settings, _, _ = read_settings({}, {"PHI4MM_API_KEY": "sk-12345678\n", "PHI4MM_ALLOWED_MEDIA_DOMAINS": "a.b, c.d"})
    assert (settings.api_key, settings.allowed_media_domains) == ("sk-12345678", ("a.b", "c.d"))


@pytest.mark.parametrize("name", ["api_key", "api_keys"])
def test_an_empty_key_is_refused(name: str) -> None:
    """`--api-key "$KEY"` without KEY would open the server."""
    with pytest.raises(ConfigError, match=f"{name} is empty"):
        read_settings({name: ""}, {})


def test_a_variable_of_kubernetes_is_called_so() -> None:
    """A Service named phi4mm puts its address into PHI4MM_PORT of every pod beside it."""
    environment = {"PHI4MM_PORT": "tcp://10.0.0.7:8000"}
    with pytest.raises(ConfigError, match="enableServiceLinks"):
        read_settings({}, environment)
    assert read_settings({"port": "8001"}, environment)[0].port == 8001


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "https://Example.org", "localhost:3000", ""])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    """It would allow nobody, without a word."""
    with pytest.raises(ConfigError, match="allowed_origins"):
        ServerSettings(allowed_origins=(origin,))
    ServerSettings(allowed_origins=("https://example.org", "http://localhost:3000", "*"))


def test_a_fraction_is_no_whole_number(tmp_path: Path) -> None:
    """8000.9 was cut to 8000."""
    file = tmp_path / "server.toml"
    file.write_text("port = 8000.9")
    with pytest.raises(ConfigError, match="expected a whole number"):
        read_settings({}, {}, file)


def test_relative_paths_in_the_file_begin_at_its_folder(tmp_path: Path) -> None:
    """systemd starts a server in /; those of flags begin where the user stands."""
    file = tmp_path / "server.toml"
    file.write_text('api_keys = "keys.toml"\nadapter = ["mine=lora", "other=/srv/lora"]\nssl_certfile = "/a"\n')
    settings, _, _ = read_settings({"ssl_keyfile": "b"}, {}, file)
    assert settings.api_keys == str(tmp_path / "keys.toml")
    assert settings.adapters == {"mine": str(tmp_path / "lora"), "other": "/srv/lora"}
    assert (settings.ssl_certfile, settings.ssl_keyfile) == ("/a", "b")


def test_a_flag_that_is_on_or_off_leaves_the_model_alone() -> None:
    """`phi4mm serve --without-key nano` had no model."""
    args = load("serve")[1].parse(["--without-key", "nano", "--no-enable-prefix-caching"])
    assert (args.model, args.without_key, args.enable_prefix_caching) == ("nano", True, False)


@pytest.mark.parametrize(
    ("flag", "value", "more"),
    [
        ("api_keys", "missing.toml", {}),
        ("ssl_certfile", "missing.pem", {"ssl_keyfile": "text.pem"}),
        ("ssl_certfile", "text.pem", {"ssl_keyfile": "text.pem"}),
        ("adapter", "mine=missing", {}),
        ("allowed_local_media_path", "missing", {}),
    ],
)
def test_a_wrong_file_is_told_with_its_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, value: str, more: dict[str, str]
) -> None:
    """A certificate was missed after the model had loaded, in a traceback."""
    monkeypatch.chdir(tmp_path)
    Path("text.pem").write_text("no certificate")
    with pytest.raises(ConfigError) as refused:
        check_files(read_settings({flag: [value] if flag == "adapter" else value, **more}, {})[0])
    assert "--" + flag.replace("_", "-") in str(refused.value)
    assert value.rpartition("=")[2] in str(refused.value)


def test_a_wrong_file_is_told_before_the_server_serves() -> None:
    """The line that says where it serves is what scripts wait for."""
    command = [*COMMAND, "--adapter", "mine=/none/such"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert (done.returncode, "serves nano" in done.stderr) == (1, False)
    assert done.stderr.startswith("phi4mm serve: --adapter mine")


def test_sighup_while_the_server_starts_does_not_end_it() -> None:
    """`systemctl reload` right after a start would kill it."""
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    try:
        while not re.match(r"  host = ", line := process.stderr.readline()):  # the settings come before it listens
            assert line, "the server ended"
        process.send_signal(signal.SIGHUP)
        assert any("serves nano" in line for line in process.stderr)
    finally:
        process.kill()
        process.communicate()

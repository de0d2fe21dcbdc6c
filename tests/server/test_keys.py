"""next.md (a) 5: keys from a file, their expiry, scopes and limits; and what a server without keys refuses."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

from phi4mm.checkpoint.hub import resolve
from phi4mm.errors import ConfigError
from phi4mm.server.errors import ApiError
from phi4mm.server.keys import Keys
from phi4mm.server.limits import Account
from phi4mm.server.settings import ServerSettings, read_settings
from tests.inference.test_adapters import write_random
from tests.server.conftest import RunningServer, start

FILE = f"""
[[key]]
name = "user"
key = "sk-user-0001"
[[key]]
name = "root"
sha256 = "{hashlib.sha256(b"sk-root-0001").hexdigest()}"
scopes = ["inference", "admin"]
[[key]]
name = "plain"
key = "sk-plain-001"
[[key]]
name = "old"
key = "sk-old-00001"
expires = 2020-01-01
[[key]]
name = "small"
key = "sk-small-001"
tokens_per_minute = 2
"""
ORIGIN = "https://page.example"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Path]]:
    """A server with a file of keys."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(FILE)
    running = start("--api-keys", str(path), "--allowed-origins", ORIGIN, key="sk-root-0001")
    try:
        running.wait_until_ready()
        yield running, path
    finally:
        running.stop()


def _status(server: RunningServer, key: str, path: str = "/v1/models") -> int:
    return server.http.get(path, headers={"authorization": f"Bearer {key}"}).status_code


def test_a5_wrong_missing_and_expired_keys_are_401_and_scopes_hold(keyed: tuple[RunningServer, Path]) -> None:
    """A server that checks some routes only is open."""
    server, _ = keyed
    assert [_status(server, key) for key in ("sk-user-0001", "sk-root-0001")] == [200, 200]
    assert [_status(server, key) for key in ("x", "sk-user-0002", "sk-old-00001")] == [401] * 3
    for path in ("/v1/models", "/v1/chat/completions", "/tokenize", "/metrics", "/no/such/route", "/version"):
        assert httpx.get(server.url + path).status_code == 401, path
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert _status(server, "sk-user-0001", "/metrics") == 403
    assert _status(server, "sk-root-0001", "/metrics") == 200


def test_a5_over_its_limit_a_key_gets_429_with_the_time_to_wait(keyed: tuple[RunningServer, Path]) -> None:
    """The others are not touched."""
    server, _ = keyed
    headers = {"authorization": "Bearer sk-small-001"}
    first = server.http.post(
        "/v1/completions", json={"model": "nano", "prompt": "Hello.", "max_tokens": 30}, headers=headers
    )
    assert (first.status_code, first.headers["x-ratelimit-limit-tokens"]) == (200, "2")
    second = server.http.post("/v1/completions", json={"model": "nano", "prompt": "Hello."}, headers=headers)
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(second.headers["retry-after"]) >= 1
    assert second.headers["x-ratelimit-remaining-tokens"] == "0"
    assert _status(server, "sk-user-0001") == 200
    assert _status(server, "sk-small-001") == 200  # what makes no answer is not refused
    assert server.http.post("/tokenize", json={"model": "nano", "prompt": "Hello."}, headers=headers).status_code == 200


def test_adapters_are_loaded_and_unloaded_with_an_admin_key(keyed: tuple[RunningServer, Path], tmp_path: Path) -> None:
    """A new adapter serves at once, under its name; a folder that is none changes nothing."""
    server, _ = keyed
    folder = write_random(tmp_path / "mine", resolve("nano"), seed=1, rank=2)
    body = {"lora_name": "mine", "lora_path": str(folder)}
    small = {"authorization": "Bearer sk-plain-001"}
    assert server.http.post("/v1/load_lora_adapter", json=body, headers=small).status_code == 403
    assert server.http.post("/v1/load_lora_adapter", json=body).json()["id"] == "mine"
    assert server.chat(model="mine").json()["model"] == "mine"
    assert "mine" in [card["id"] for card in server.http.get("/v1/models").json()["data"]]
    wrong = {"lora_name": "other", "lora_path": str(tmp_path)}
    assert server.http.post("/v1/load_lora_adapter", json=wrong).status_code == 400
    own = server.http.post("/v1/unload_lora_adapter", json={"lora_name": "vision"})
    assert (own.status_code, own.json()["error"]["param"]) == (400, "lora_name")
    assert server.http.post("/v1/unload_lora_adapter", json={"lora_name": "mine"}).json()["deleted"]
    assert server.chat(model="mine").status_code == 404


def test_a5_sighup_reads_the_file_again(keyed: tuple[RunningServer, Path]) -> None:
    """A key is withdrawn without a restart; a damaged file changes nothing."""
    server, path = keyed
    path.write_text(FILE.replace("sk-user-0001", "sk-user-0009"))
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while _status(server, "sk-user-0009") != 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert (_status(server, "sk-user-0009"), _status(server, "sk-user-0001")) == (200, 401)
    path.write_text("[[key]]\nname = 3")
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert _status(server, "sk-user-0009") == 200


def test_a_page_of_an_allowed_origin_may_send_the_headers_of_its_client(keyed: tuple[RunningServer, Path]) -> None:
    """The official JavaScript client always sends headers of its own, Azure's has the key in one."""
    server, _ = keyed
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "api-key,authorization,content-type,x-stainless-lang,x-stainless-retry-count",
    }
    path = f"{server.url}/v1/chat/completions"
    allowed = httpx.options(path, headers={"origin": ORIGIN, **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    refused = httpx.options(path, headers={"origin": "https://evil.example", **asked})
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)


def test_azure_form_takes_the_official_azure_client(keyed: tuple[RunningServer, Path]) -> None:
    """The model card names its hosted endpoint: its clients need a new address only."""
    server, _ = keyed
    client = openai.AzureOpenAI(azure_endpoint=server.url, api_key="sk-root-0001", api_version="2024-10-21")
    reply = client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "Hello."}])
    assert reply.choices[0].message.content == "Hello! How can I help you?"
    path = "/openai/deployments/nano/chat/completions"
    assert server.http.post(path, json={"messages": []}).json()["error"]["param"] == "api-version"


def test_a_server_without_keys_serves_this_machine_only(server: RunningServer) -> None:
    """A page of another site may have its name point here; adapters are read from folders."""
    assert server.http.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
    answer = server.http.post("/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": "/"})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "127.0.0.1.example", "127.x.example"])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    """An open port is found within minutes; a name that begins like loopback may mean any machine."""
    with pytest.raises(ConfigError, match="no key"):
        ServerSettings(host=host)
    for more in ({"api_key": "sk-12345678"}, {"without_key": True}):
        ServerSettings(host=host, **more)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_loopback_no_key_is_needed(host: str) -> None:
    """Only programs of this machine reach it."""
    assert ServerSettings(host=host).is_loopback


def test_settings_come_from_flags_before_the_environment_before_the_file(tmp_path: Path) -> None:
    """A flag that the environment overrides could not be relied upon."""
    file = tmp_path / "server.toml"
    file.write_text('port = 1\nmax_tokens = 2\nhost = "127.0.0.2"\nwithout_key = true\n')
    settings, args, sources = read_settings(
        {"port": "3", "page_size": "16"}, {"PHI4MM_PORT": "4", "PHI4MM_MAX_TOKENS": "5"}, file
    )
    assert (settings.port, settings.max_tokens, settings.host, args.page_size) == (3, 5, "127.0.0.2", 16)
    assert (sources["port"], sources["max_tokens"], sources["host"]) == ("flag", "PHI4MM_MAX_TOKENS", os.fspath(file))
    file.write_text("prot = 1")
    with pytest.raises(ConfigError, match="did you mean port"):
        read_settings({}, {}, file)
    with pytest.raises(ConfigError, match="expected a whole number"):
        read_settings({"port": "eighty"}, {})


def test_a5_changed_limits_do_not_forget_what_was_used(tmp_path: Path) -> None:
    """Otherwise a key that is cut down begins with a full allowance, and its running requests count for nothing."""
    path = tmp_path / "keys.toml"
    text = '[[key]]\nname = "a"\nkey = "12345678"\nconcurrent = 1\ntokens_per_minute = {}'
    path.write_text(text.format(1000))
    keys = Keys(ServerSettings(api_keys=str(path)))

    def read(limit: int) -> Account:
        path.write_text(text.format(limit))
        keys.read()
        key = keys.find("12345678")
        assert key is not None
        return key.account

    account = read(1000)
    account.enter(generates=True)
    account.spend_tokens(900)
    account = read(500)
    with pytest.raises(ApiError, match="1 requests of this key run"):
        account.enter(generates=True)
    account.leave()
    with pytest.raises(ApiError, match="its 500 tokens a minute"):
        account.enter(generates=True)
    read(2000).enter(generates=True)


@pytest.mark.parametrize(
    "text",
    [
        '[[key]]\nname = "a"',
        '[[key]]\nname = "a"\nkey = "12345678"\nscopes = ["root"]',
        '[[key]]\nname = "a"\nkey = "12345678"\n[[key]]\nname = "a"\nkey = "12345679"',
        '[[key]]\nname = "a\\n"\nkey = "12345678"',
        'key = "secret-secret',
    ],
)
def test_a_damaged_file_of_keys_is_refused_without_showing_a_key(tmp_path: Path, text: str) -> None:
    """The message goes to a log."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        Keys(ServerSettings(api_keys=str(path)))
    assert "1234567" not in str(refused.value)
    assert "secret" not in str(refused.value)

"""Finding a model: in the package, in a folder, on a hub that misbehaves."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path
from threading import Thread

import pytest

import phi4mm
from phi4mm.checkpoint.hub import resolve
from phi4mm.errors import ConfigError
from tests.checkpoint.hub_server import COMMIT, HubServer

REPOSITORY = "someone/phi-4"
SCRIPT = """
import json, sys
from phi4mm.checkpoint.hub import resolve
from phi4mm.errors import PhiError
try:
    print(json.dumps({"folder": str(resolve(sys.argv[1], revision=sys.argv[2] or None))}))
except PhiError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


def published(model_type: str = "phi4mm") -> dict[str, bytes]:
    """Files as on the hub: weights, both adapter folders, and things that must never be fetched.

    All differ, because the cache keeps equal content once; the weights exceed the client's 10 MB steps.
    """
    return {
        "config.json": json.dumps({"model_type": model_type}).encode(),
        "tokenizer.json": b"{3}",
        "model.safetensors.index.json": b"{}",
        "model-00001-of-00001.safetensors": bytes(range(256)) * 90_000,
        "vision-lora/adapter_config.json": b"{1}",
        "vision-lora/adapter_model.safetensors": b"sees",
        "speech-lora/adapter_config.json": b"{2}",
        "speech-lora/adapter_model.safetensors": b"hears",
        "pytorch_model.bin": b"pickle",
        "speech-lora/adapter_model.bin": b"pickle",
        "modeling_phi4mm.py": b"raise SystemExit",
        "examples/what.jpg": b"image",
    }


def fetch(
    cache: Path, url: str, *, name: str = REPOSITORY, revision: str = "", stderr: int = subprocess.PIPE, **settings: str
) -> dict[str, str]:
    """`resolve` in a process of its own, because the hub library reads its environment once."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(Path(phi4mm.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, name, revision]
    done = subprocess.run(
        command, env=environment | settings, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def test_a_download_survives_a_cut_and_is_then_found_offline(tmp_path: Path) -> None:
    """Prevents: a broken transfer that starts over or leaves a short file, pickles and code fetched, cache unused."""
    weights = "model-00001-of-00001.safetensors"
    with HubServer(REPOSITORY, published(), cut_once={weights}) as hub:
        found = fetch(tmp_path, hub.url)
        folder = Path(found["folder"])
        assert folder.name == COMMIT
        assert (folder / weights).read_bytes() == hub.files[weights]
        ranges = [r for method, path, r in hub.seen if method == "GET" and path.endswith(weights)]
        assert ranges == [None, "bytes=10485760-"], "the second request must go on, not restart"
        assert hub.fetched() == {"config.json", "tokenizer.json", "model.safetensors.index.json", weights}
        assert "%" not in found["stderr"], "no progress bar where stderr is no terminal"
    again = fetch(tmp_path, hub.url, HF_HUB_OFFLINE="1")
    assert again["folder"] == found["folder"]


def test_a_terminal_sees_the_progress(tmp_path: Path) -> None:
    """Prevents: minutes of silence during a download of 11 GB."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown: list[bytes] = []

    def watch() -> None:
        with contextlib.suppress(OSError):  # how a pseudo-terminal says that its other end was closed
            while piece := os.read(leader, 4096):
                shown.append(piece)

    watcher = Thread(target=watch)
    watcher.start()
    with HubServer(REPOSITORY, published()) as hub:
        fetch(tmp_path, hub.url, stderr=follower)
    os.close(follower)
    watcher.join(timeout=10)
    os.close(leader)
    assert b"100%" in b"".join(shown)


def test_adapter_folders_are_fetched_only_where_the_weights_lack_them(tmp_path: Path) -> None:
    """Prevents: the layout of transformers arriving without its adapters."""
    with HubServer(REPOSITORY, published("phi4_multimodal")) as hub:
        fetch(tmp_path, hub.url)
        wanted = {name for name in hub.files if name.startswith(("vision-lora/", "speech-lora/"))}
        assert hub.fetched() >= wanted - {"speech-lora/adapter_model.bin"}
        assert not any(name.endswith((".bin", ".py", ".jpg")) for name in hub.fetched())


def test_a_gated_model_asks_for_a_token_and_comes_with_one(tmp_path: Path) -> None:
    """Prevents: a bare 401, or a token that is set and not sent."""
    with HubServer(REPOSITORY, published(), token="hf_secret") as hub:
        refused = fetch(tmp_path, hub.url)
        assert refused["error"] == "CheckpointError"
        assert "gated" in refused["message"]
        assert "HF_TOKEN" in refused["message"]
        assert "folder" in fetch(tmp_path, hub.url, HF_TOKEN="hf_secret")


def test_what_the_hub_lacks_is_named(tmp_path: Path) -> None:
    """Prevents: a stack of HTTP errors for a misspelt name or revision."""
    with HubServer(REPOSITORY, published()) as hub:
        missing = fetch(tmp_path, hub.url, name="someone/phi-5")
        assert missing["error"] == "ConfigError"
        assert "'someone/phi-5' is neither a folder here nor a model" in missing["message"]
        revision = fetch(tmp_path, hub.url, revision="v9")
        assert revision["error"] == "ConfigError"
        assert "no revision 'v9'" in revision["message"]


def test_without_a_network_the_message_says_which_switch_or_cable(tmp_path: Path) -> None:
    """Prevents: offline mode and a dead network told as "not found"."""
    offline = fetch(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline["error"] == "CheckpointError"
    assert "HF_HUB_OFFLINE" in offline["message"]
    dead = fetch(tmp_path, "http://127.0.0.1:9")
    assert dead["error"] == "CheckpointError"
    assert "cannot be reached" in dead["message"]


def test_a_repository_of_something_else_is_refused(tmp_path: Path) -> None:
    """Prevents: gigabytes fetched of a repository that is no checkpoint."""
    with HubServer(REPOSITORY, {"model.safetensors": b"x" * 1000}) as hub:
        found = fetch(tmp_path, hub.url)
        assert found["error"] == "CheckpointError"
        assert "no config.json" in found["message"]
        assert hub.fetched() == set()


def test_an_existing_folder_is_itself(tmp_path: Path) -> None:
    """Prevents: a folder named like a hub id being looked up on the network."""
    assert resolve(tmp_path) == tmp_path
    with pytest.raises(ConfigError, match="revision 'main' has no meaning"):
        resolve(tmp_path, revision="main")


def test_what_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path) -> None:
    """Prevents: a mistyped path sent to the hub."""
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(ConfigError, match="is a file; expected the folder"):
        resolve(tmp_path / "weights.safetensors")
    for name in ("/no/such/folder", "a/b/c", "phi4", "", "../x", tmp_path / "absent"):
        with pytest.raises(ConfigError, match="is no folder; expected 'nano', a folder, or a hub id"):
            resolve(name)

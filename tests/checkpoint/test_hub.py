"""Find a model: in the package, in a folder, and on a hub that fails in several ways."""

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
    folder = resolve(sys.argv[1], revision=sys.argv[2] or None, local_files_only=len(sys.argv) > 3)
    print(json.dumps({"folder": str(folder)}))
except PhiError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


def published(model_type: str = "phi4mm") -> dict[str, bytes]:
    """Files as on the hub: weights, both adapter folders, and files that must never be downloaded.

    All differ, because the cache stores equal content once; the weights are larger than the client's blocks of 10 MB.
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
    cache: Path,
    url: str,
    *,
    name: str = REPOSITORY,
    revision: str = "",
    local: bool = False,
    stderr: int = subprocess.PIPE,
    **settings: str,
) -> dict[str, str]:
    """`resolve` in a new process, because the hub library reads the environment once."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(Path(phi4mm.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, name, revision, *["local"] * local]
    done = subprocess.run(
        command, env=environment | settings, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def test_an_interrupted_download_is_continued_and_then_found_offline(tmp_path: Path) -> None:
    """It must not start again or leave a short file; pickles and code are not downloaded; the cache is used."""
    weights = "model-00001-of-00001.safetensors"
    with HubServer(REPOSITORY, published(), cut_once={weights}) as hub:
        found = fetch(tmp_path, hub.url)
        folder = Path(found["folder"])
        assert folder.name == COMMIT
        assert (folder / weights).read_bytes() == hub.files[weights]
        ranges = [r for method, path, r in hub.requests if method == "GET" and path.endswith(weights)]
        assert ranges == [None, "bytes=10485760-"], "the second request must continue, not restart"
        assert hub.fetched() == {"config.json", "tokenizer.json", "model.safetensors.index.json", weights}
        assert "%" not in found["stderr"], "no progress bar where stderr is no terminal"
    again = fetch(tmp_path, hub.url, HF_HUB_OFFLINE="1")
    assert again["folder"] == fetch(tmp_path, hub.url, local=True)["folder"] == found["folder"]


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    """A download of 11 GB takes minutes."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    output: list[bytes] = []

    def watch() -> None:
        with contextlib.suppress(OSError):  # raised when the other end of a pseudo-terminal is closed
            while piece := os.read(leader, 4096):
                output.append(piece)

    watcher = Thread(target=watch)
    watcher.start()
    with HubServer(REPOSITORY, published()) as hub:
        fetch(tmp_path, hub.url, stderr=follower)
    os.close(follower)
    watcher.join(timeout=10)
    os.close(leader)
    assert b"100%" in b"".join(output)


def test_adapter_folders_are_downloaded_only_if_the_weights_lack_the_adapters(tmp_path: Path) -> None:
    """The transformers layout needs them, the original layout does not."""
    with HubServer(REPOSITORY, published("phi4_multimodal")) as hub:
        fetch(tmp_path, hub.url)
        adapters = {name for name in hub.files if name.startswith(("vision-lora/", "speech-lora/"))}
        assert hub.fetched() >= adapters - {"speech-lora/adapter_model.bin"}
        assert not any(name.endswith((".bin", ".py", ".jpg")) for name in hub.fetched())


def test_a_gated_model_is_downloaded_only_with_a_token(tmp_path: Path) -> None:
    """Without one, the error says to set HF_TOKEN; if that is set, it must be sent."""
    with HubServer(REPOSITORY, published(), token="hf_secret") as hub:
        refused = fetch(tmp_path, hub.url)
        assert refused["error"] == "CheckpointError"
        assert "gated" in refused["message"]
        assert "HF_TOKEN" in refused["message"]
        assert "folder" in fetch(tmp_path, hub.url, HF_TOKEN="hf_secret")


def test_an_unknown_model_or_revision_is_named_in_the_error(tmp_path: Path) -> None:
    """A misspelling must not give a chain of HTTP errors."""
    with HubServer(REPOSITORY, published()) as hub:
        missing = fetch(tmp_path, hub.url, name="someone/phi-5")
        assert missing["error"] == "ConfigError"
        assert "'someone/phi-5' is neither a folder here nor a model" in missing["message"]
        revision = fetch(tmp_path, hub.url, revision="v9")
        assert revision["error"] == "ConfigError"
        assert "no revision 'v9'" in revision["message"]


def test_offline_mode_and_a_missing_network_have_different_errors(tmp_path: Path) -> None:
    """Neither is "not found": one needs a setting, the other a network."""
    offline = fetch(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline["error"] == "CheckpointError"
    assert "HF_HUB_OFFLINE" in offline["message"]
    local = fetch(tmp_path, "http://127.0.0.1:9", local=True)
    assert local["error"] == "CheckpointError"
    assert "local_files_only forbids downloading" in local["message"]
    dead = fetch(tmp_path, "http://127.0.0.1:9")
    assert dead["error"] == "CheckpointError"
    assert "cannot be reached" in dead["message"]


def test_a_repository_without_config_json_is_refused(tmp_path: Path) -> None:
    """No weights must be downloaded from a repository that is not a checkpoint."""
    with HubServer(REPOSITORY, {"model.safetensors": b"x" * 1000}) as hub:
        found = fetch(tmp_path, hub.url)
        assert found["error"] == "CheckpointError"
        assert "no config.json" in found["message"]
        assert hub.fetched() == set()


def test_an_existing_folder_is_returned(tmp_path: Path) -> None:
    """A folder with a name like a hub id must not be looked up on the network."""
    assert resolve(tmp_path) == tmp_path
    with pytest.raises(ConfigError, match="revision 'main' has no meaning"):
        resolve(tmp_path, revision="main")


def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path) -> None:
    """A misspelt path must not be sent to the hub."""
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(ConfigError, match="is a file; expected the folder"):
        resolve(tmp_path / "weights.safetensors")
    for name in ("/no/such/folder", "a/b/c", "phi4", "", "../x", tmp_path / "absent"):
        with pytest.raises(ConfigError, match="is no folder; expected 'nano', a folder, or a hub id"):
            resolve(name)

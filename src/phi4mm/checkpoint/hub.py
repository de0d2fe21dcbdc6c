"""Find a model: in the package, in a folder, or on a model hub."""

from __future__ import annotations

import os
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from phi4mm.config.json_file import read_json
from phi4mm.errors import CheckpointError, ConfigError

METADATA = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "quantization.json",
)
WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json")
ADAPTERS = ("*-lora/adapter_config.json", "*-lora/adapter_model.safetensors")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def resolve(model: str | os.PathLike[str], *, revision: str | None = None) -> Path:
    """The local folder of `model`: "nano", an existing folder, or a hub id `owner/name` (downloaded if needed).

    Downloads use HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT as they are set at the first one.
    Complete files are never downloaded again, and an interrupted download is continued. Progress is shown on stderr if
    that is a terminal. `revision` (branch, tag or commit) is allowed with a hub id only.

    raises  ConfigError if `model` is none of these; CheckpointError if it cannot be downloaded
    """
    name = os.fspath(model)
    if name != "nano" and not (name and Path(name).is_dir()):
        if name and Path(name).exists():
            raise ConfigError(f"model {name!r} is a file; expected the folder that holds config.json and the weights")
        if not isinstance(model, str) or not _HUB_ID.fullmatch(name):
            raise ConfigError(f"model {name!r} is no folder; expected 'nano', a folder, or a hub id such as owner/name")
        return _download(name, revision)
    if revision is not None:
        raise ConfigError(f"revision {revision!r} has no meaning for {name!r}, which is no hub id; leave it out")
    return _packaged_nano() if name == "nano" else Path(name)


def cache_folder() -> Path:
    """Where downloaded models are kept (HF_HUB_CACHE, HF_HOME)."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def cached(name: str) -> Path | None:
    """The folder of a hub id in the cache, complete or not, without a look at the network; None if there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _packaged_nano() -> Path:
    folder = Path(str(resources.files("phi4mm").joinpath("nano", "assets")))
    if not (folder / "config.json").is_file():
        raise ConfigError("model 'nano' is missing from this installation of phi4mm; install the package again")
    return folder


def _download(name: str, revision: str | None) -> Path:
    """Download the metadata first: config.json says whether the adapters are in the weights or in folders."""
    folder = _snapshot(name, revision, METADATA)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{name} on the hub has no config.json; expected a Phi-4-multimodal checkpoint")
    original = read_json(folder / "config.json").get("model_type") == "phi4mm"
    weights = WEIGHTS if original else WEIGHTS + ADAPTERS
    return _snapshot(name, folder.name, METADATA + weights)  # the folder is named after its commit


def _snapshot(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    # Imported here: the library reads the environment when it is imported, and folders do not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of the HTTP client it uses
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=list(patterns), tqdm_class=_progress_bar())
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name} is gated: accept its terms on the hub's page, then set HF_TOKEN to a token of that account"
        ) from error
    except RevisionNotFoundError as error:
        raise ConfigError(f"{name} has no revision {revision!r}; expected a branch, tag or commit of it") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{name!r} is neither a folder here nor a model that the hub shows you; check the spelling, "
            "and set HF_TOKEN if it is private"
        ) from error
    except HFValidationError as error:
        raise ConfigError(f"{name!r} is no valid hub id: {error}") from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(_absent(name, error)) from error
    except (HTTPError, OSError) as error:
        raise CheckpointError(
            f"{name} could not be downloaded ({_first_line(error)}); run again to continue"
        ) from error
    return Path(folder)


def _progress_bar() -> type[Any]:
    """The hub library's progress bar, off where stderr is no terminal; by itself, it does that for one bar of three."""
    from huggingface_hub.utils import tqdm as hub_bar  # type: ignore[attr-defined]

    class Bar(hub_bar):
        def __init__(self, *args: Any, **settings: Any) -> None:
            settings["disable"] = settings.get("disable") or not sys.stderr.isatty()
            super().__init__(*args, **settings)  # type: ignore[no-untyped-call]

    return Bar


def _absent(name: str, error: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return (
            f"{name} is not complete in the local cache and HF_HUB_OFFLINE forbids downloading; unset it and run again"
        )
    return f"{name} is not in the local cache and the hub cannot be reached ({_first_line(error)}); check the network"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

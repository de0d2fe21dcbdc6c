"""Settings of the server: one table, read from flags, the environment (PHI4MM_NAME) and a TOML file, in this order."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from phi4mm.config.engine import EngineArgs
from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.validate import integer, is_number, refuse_unknown, shown, shown_path
from phi4mm.errors import ConfigError

PREFIX = "PHI4MM_"  # of environment variables
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\sA-Z]+")  # as browsers send it
MAX_CONFIG = 2**20  # bytes of the TOML file
KUBERNETES = (
    ". Kubernetes sets it for a Service named phi4mm: rename it, set enableServiceLinks to false, or give --port"
)
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _setting(default: Any, help: str, *, is_path: bool = False) -> Any:
    return field(default=default, metadata={"help": help, "is_path": is_path})


@dataclass(frozen=True)
class ServerSettings:
    """How the server listens, and its limits. Raises ConfigError."""

    host: str = _setting("127.0.0.1", "address to listen on; others than loopback need a key")
    port: int = _setting(8000, "port to listen on; 0 takes a free one")
    served_model_name: str = _setting("", "name of the model for clients; default: as given, of a folder its last part")
    device: str = _setting("auto", "auto, cpu, cuda or cuda:1")
    dtype: str = _setting("auto", "auto, float32, bfloat16 or float16")
    quantize: str = _setting("", "int8 or int4")
    adapter: tuple[str, ...] = _setting((), "NAME=FOLDER of a LoRA in PEFT's format; repeatable", is_path=True)
    api_key: str = _setting("", "the one key that clients send, with every scope")
    api_keys: str = _setting(
        "", "file of keys, each with a name, scopes and limits; read again at SIGHUP", is_path=True
    )
    without_key: bool = _setting(False, "listen beyond loopback without a key")
    allowed_origins: tuple[str, ...] = _setting((), "origins whose pages may send requests (CORS); repeatable")
    ssl_certfile: str = _setting("", "certificate for HTTPS", is_path=True)
    ssl_keyfile: str = _setting("", "its key", is_path=True)
    allowed_media_domains: tuple[str, ...] = _setting((), "hosts from which media URLs are fetched; repeatable")
    allowed_local_media_path: str = _setting("", "folder below which file: URLs are read", is_path=True)
    max_media_items: int = _setting(64, "most images and audio clips of a request")
    max_media_bytes: int = _setting(64 * 2**20, "most bytes of one of them")
    media_timeout: float = _setting(30.0, "seconds to decode the media of a request")
    media_processes: int = _setting(2, "requests whose media are decoded at once")
    max_tokens: int = _setting(1024, "most tokens of an answer whose request says nothing")
    max_body_bytes: int = _setting(64 * 2**20, "most bytes of a request's body")
    shutdown_timeout: float = _setting(30.0, "seconds that running requests get after SIGTERM")

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65535),
            ("max_tokens", 1, 2**31),
            ("max_body_bytes", 1, 2**40),
            ("max_media_items", 0, 128),
            ("max_media_bytes", 1, 2**30),
            ("media_processes", 1, 64),
        ):
            integer(name, getattr(self, name), low, high, error=ConfigError)
        for name, least in (("shutdown_timeout", 0), ("media_timeout", 0.1)):
            if not is_number(value := getattr(self, name)) or not least <= value <= 86400:
                raise ConfigError(f"{name} is {shown(value)}; expected a number from {least} to 86400")
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise ConfigError("ssl_certfile and ssl_keyfile belong together; give both or none")
        if self.api_key and not 8 <= len(self.api_key) <= 1024:
            raise ConfigError(f"api_key has {len(self.api_key)} characters; expected 8 to 1024")
        if not (self.is_loopback or self.has_keys or self.without_key):
            raise ConfigError(
                f"host {self.host:.100} can be reached from other machines and there is no key; give --api-key or"
                " --api-keys, or say --without-key"
            )
        for adapter in self.adapter:
            if not all(adapter.partition("=")):
                raise ConfigError(f"adapter is {shown(adapter)}; expected NAME=FOLDER")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"allowed_origins has {shown(origin)}; expected an origin as browsers send it, such as"
                    " https://example.org or http://localhost:3000, or *"
                )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, which may mean any machine
            return self.host == "localhost"

    @property
    def has_keys(self) -> bool:
        """Whether clients need a key."""
        return bool(self.api_key or self.api_keys)

    @property
    def adapters(self) -> dict[str, str]:
        """The folders of adapters, by name."""
        return {name: folder for name, _, folder in (adapter.partition("=") for adapter in self.adapter)}


def table() -> Iterator[tuple[Field[Any], str]]:
    """Every setting, those of the engine too, with its help."""
    for each in fields(ServerSettings):
        yield each, each.metadata["help"]
    for each in fields(EngineArgs):
        yield each, "see phi4mm.EngineArgs"


def read_settings(
    flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None = None
) -> tuple[ServerSettings, EngineArgs, dict[str, str]]:
    """The settings, those of the engine, and where each value that is no default comes from.

    Spaces around a value are dropped. An empty variable of the environment is as good as none. Relative paths in the
    file begin at its folder.

    raises  ConfigError for an unknown name in the file, and for a value that does not fit
    """
    known = {each.name: each for each, _ in table()}
    entries = _read_file(file) if file is not None else {}
    refuse_unknown(f"file {file}", entries, known)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, each in known.items():
        variable = PREFIX + name.upper()
        if flags.get(name) is not None:
            values[name], sources[name] = _converted(name, each, flags[name]), "flag"
        elif environment.get(variable, "").strip():
            values[name], sources[name] = _converted(variable, each, environment[variable]), variable
        elif name in entries:
            value = _converted(name, each, entries[name])
            values[name] = _beside(file, value) if file and each.metadata.get("is_path") else value
            sources[name] = os.fspath(file or "")
        if name in ("api_key", "api_keys") and values.get(name) == "":
            raise ConfigError(f"{name} is empty; give a key, or leave the setting out")
    engine = {each.name for each in fields(EngineArgs)}
    args = EngineArgs(**{name: value for name, value in values.items() if name in engine})
    settings = ServerSettings(**{name: value for name, value in values.items() if name not in engine})
    return settings, args, sources


def _converted(name: str, each: Field[Any], value: object) -> object:
    """A value as its setting's type: text is read, lists and texts with commas become tuples."""
    value = value.strip() if isinstance(value, str) else value
    default: Any = each.default if each.default is not None else 0  # the one without default is a number of bytes
    if isinstance(default, tuple):
        texts = value.split(",") if isinstance(value, str) else value
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{name} is {shown(value)}; expected a list of texts")
        return tuple(text.strip() for text in texts)
    try:
        if isinstance(default, bool):
            return value if isinstance(value, bool) else _WORDS[str(value).lower()]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError
        if isinstance(default, int) and isinstance(value, float):
            raise ValueError
        return type(default)(value)
    except (KeyError, ValueError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        hint = KUBERNETES if name == PREFIX + "PORT" and str(value).startswith("tcp://") else ""
        raise ConfigError(f"{name} is {shown(value)}; expected {kinds[type(default)]}{hint}") from None


def _beside(file: Path, value: Any) -> Any:
    """The path or NAME=FOLDER of a setting in the file, with the file's folder before what is relative."""
    if isinstance(value, tuple):
        named = (each.partition("=") for each in value)
        return tuple(f"{name}={_beside(file, path)}" for name, _, path in named)
    return os.fspath(file.absolute().parent / os.path.expanduser(value)) if value else value


def _read_file(path: Path) -> dict[str, Any]:
    if regular_file_bytes(path, "a configuration", ConfigError) > MAX_CONFIG:
        raise ConfigError(f"{shown_path(path)} has more than {MAX_CONFIG} bytes; expected a configuration in TOML")
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shown_path(path)} cannot be read as TOML: {error!s:.200}") from None

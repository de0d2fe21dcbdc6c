"""Keys of clients: a file with the name, expiry, scopes and limits of each, or a single key.

The file is TOML with one table for each key:

    [[key]]
    name = "alice"
    key = "sk-..."          # or its SHA-256: sha256 = "9f86d0..."
    expires = 2027-06-30    # optional: the first day (UTC) on which it does not work
    scopes = ["inference"]  # or "admin" too, for metrics and adapters
    concurrent = 8          # optional limits: requests at once,
    tokens_per_minute = 60000
    audio_seconds_per_minute = 600
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.validate import shown_path
from phi4mm.errors import ConfigError
from phi4mm.server.limits import Account, KeyLimits
from phi4mm.server.settings import ServerSettings

MAX_FILE = 4 * 2**20  # bytes
SCOPES = ("inference", "admin")


class _Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{1,64}\Z")]
    key: Annotated[str, Meta(min_length=8, max_length=1024)] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    expires: datetime.date | None = None
    scopes: tuple[str, ...] = ("inference",)
    concurrent: Annotated[int, Meta(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    audio_seconds_per_minute: Annotated[int, Meta(ge=1)] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    key: list[_Entry]


class Key(msgspec.Struct, frozen=True):
    """A key as it is compared: by the SHA-256 of its text."""

    name: str
    digest: bytes
    expires: datetime.date | None
    scopes: frozenset[str]
    account: Account


class Keys:
    """All keys of a server."""

    def __init__(self, settings: ServerSettings) -> None:
        """Read them. Raises ConfigError."""
        self._settings = settings
        self._keys: list[Key] = []
        self.read()

    def read(self) -> None:
        """Read the file again. What a key has used stays counted. Raises ConfigError, and changes nothing then."""
        accounts = {key.name: key.account for key in self._keys}
        keys = []
        if self._settings.api_keys:
            keys = [_key(entry, accounts) for entry in _read(Path(self._settings.api_keys))]
        if self._settings.api_key:
            digest = _digest(self._settings.api_key)
            account = accounts.get("api-key") or Account(KeyLimits())
            keys.append(Key("api-key", digest, None, frozenset(SCOPES), account))
        self._keys = keys

    def find(self, text: str) -> Key | None:
        """The key that was sent, if there is one and it has not expired. Takes as long for a wrong one."""
        digest, found = _digest(text), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None or (found.expires is not None and found.expires <= datetime.datetime.now(datetime.UTC).date()):
            return None
        return found


def _read(path: Path) -> list[_Entry]:
    if regular_file_bytes(path, "a file of keys", ConfigError) > MAX_FILE:
        raise ConfigError(f"{shown_path(path)} has more than {MAX_FILE} bytes; expected a file of keys")
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).key
    except (OSError, ValueError) as error:
        # Of the library's texts only those of its own checks are shown: others may quote a key.
        reason = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
        raise ConfigError(f"{shown_path(path)} is no file of keys: {reason:.200}") from None
    names = [entry.name for entry in entries]
    for entry in entries:
        if (entry.key is None) == (entry.sha256 is None):
            raise ConfigError(f"{shown_path(path)}: key {entry.name} needs either key or sha256")
        if not set(entry.scopes) <= set(SCOPES) or names.count(entry.name) > 1 or entry.name == "api-key":
            raise ConfigError(
                f"{shown_path(path)}: key {entry.name} has other scopes than {', '.join(SCOPES)}, or a name in use"
            )
    return entries


def _key(entry: _Entry, accounts: dict[str, Account]) -> Key:
    digest = bytes.fromhex(entry.sha256) if entry.sha256 else _digest(entry.key or "")
    limits = KeyLimits(entry.concurrent, entry.tokens_per_minute, entry.audio_seconds_per_minute)
    account = accounts.get(entry.name) or Account(limits)
    account.change(limits)
    return Key(entry.name, digest, entry.expires, frozenset(entry.scopes), account)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()

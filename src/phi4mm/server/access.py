"""Who may ask what: keys, their scopes and limits, and the names by which a server without keys may be called."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phi4mm.server.errors import ApiError
from phi4mm.server.keys import Keys
from phi4mm.server.settings import ServerSettings

OPEN = frozenset({"/health"})
ADMIN = frozenset({"/metrics", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"})
ONLY_WITH_KEY = ADMIN - {"/metrics"}  # also on loopback: they read folders of the server
GENERATING = ("/chat/completions", "/v1/completions", "/v1/responses")  # how the paths of such routes end
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Access:
    """Passes a request on if its client may send it, and counts it in the account of its key."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, keys: Keys, static: Collection[str]) -> None:
        """`static` are the paths of the page's files, which need no key."""
        self._app, self._settings, self._keys, self._open = app, settings, keys, OPEN | set(static)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403 or 429 in place of the application, where needed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        try:
            if not self._settings.has_keys:
                self._check_without_key(path, headers)
            elif path not in self._open:
                await self._with_key(scope, receive, send, headers)
                return
        except ApiError as error:
            await error.response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_without_key(self, path: str, headers: Headers) -> None:
        if path in ONLY_WITH_KEY:
            raise ApiError(403, "adapters are changed with a key of scope admin only, and this server has no keys")
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if headers.get("host", "").endswith("]"):
            host = headers["host"]
        # A page of another site may have its own name point to this machine.
        if self._settings.is_loopback and host.lower() not in _LOCAL | {self._settings.host}:
            raise ApiError(421, "this server is called localhost; other names need a key")

    async def _with_key(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("api-key", "")
        key = self._keys.find(given)
        if key is None:
            challenge = {"www-authenticate": "Bearer"}
            code = "invalid_api_key" if given else "missing_api_key"
            raise ApiError(401, "the key is missing, wrong or expired", code=code, headers=challenge)
        needed = "admin" if scope["path"] in ADMIN else "inference"
        if needed not in key.scopes:
            raise ApiError(403, f"this needs a key with the scope {needed}", code="insufficient_scope")
        scope["state"]["key"] = key.name
        scope["state"]["account"] = account = key.account

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in account.headers().items():
                    found.setdefault(name, value)
            await send(message)

        account.enter(generates=scope["method"] == "POST" and scope["path"].endswith(GENERATING))
        try:
            await self._app(scope, receive, send_with_limits)
        finally:
            account.leave()

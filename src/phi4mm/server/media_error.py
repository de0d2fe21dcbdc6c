"""Why an image or audio clip of a request was refused, with the HTTP status that says so."""

from __future__ import annotations

from phi4mm.errors import InputError


class MediaError(InputError):
    """Media of a request are refused; `status` is 400 (bad), 413 (too large) or 422 (cannot be fetched)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message

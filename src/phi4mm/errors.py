"""The errors of phi4mm: one class for each reaction that a caller may want.

PhiError
    ConfigError        a file or option is wrong; names the field, its value and the nearest valid name
    CheckpointError    missing, unexpected or misshaped tensors, counted and listed
    InputError         this request can never work
    CapacityError      the request could work later
    EngineError        a fault of phi4mm; has the request id

All of them keep their text and attributes when they are pickled or copied: workers send them to other processes.
"""

from __future__ import annotations


class PhiError(Exception):
    """Base class of all errors that phi4mm raises on purpose."""


class ConfigError(PhiError, ValueError):
    """A configuration file or option is wrong."""


class CheckpointError(PhiError):
    """A checkpoint cannot be read, or its tensors do not fit its configuration."""


class InputError(PhiError, ValueError):
    """The request can never work: too long, damaged media, impossible option."""


class CapacityError(PhiError):
    """There is no room for the request now; it could work later."""


class EngineError(PhiError):
    """A fault of phi4mm itself while it ran a request."""

    def __init__(self, message: str, request_id: str = "") -> None:
        # Both arguments are passed to Exception: unpickling and copying call the class with `args` again.
        super().__init__(message, request_id)
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        return f"request {self.request_id}: {self.message}" if self.request_id else self.message

"""What can go wrong, one class for each thing a caller would do differently.

PhiError
    ConfigError        a file or option is wrong; names the field, its value and the nearest valid name
    CheckpointError    missing, unexpected or misshaped tensors, all of them listed
    InputError         this request can never work
    CapacityError      it could work later
    EngineError        our fault; carries the request id

Every one survives pickling and copying with its words and attributes: workers raise them in other processes.
"""

from __future__ import annotations


class PhiError(Exception):
    """Base of everything phi4mm raises on purpose."""


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
        # Both arguments go to Exception as they are: unpickling and copying call the class with them again.
        super().__init__(message, request_id)
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        return f"request {self.request_id}: {self.message}" if self.request_id else self.message

"""Read kernels.h, which declares all that the compiled library offers, into ctypes.

A parser for all of C would take longer to import than the rest of this package. This one reads plain structs and
prototypes, and refuses everything else.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = Path(__file__).with_name("csrc") / "kernels.h"
NUMBERS: dict[str, type[Any]] = {
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}
ONLY_POINTED_TO = ("void", "uint8_t", "uint16_t")
_NAME = r"[A-Za-z_]\w*"
_STRUCT = re.compile(rf"typedef struct \{{(?P<fields>[^{{}}]*)\}} (?P<name>{_NAME})")
_FUNCTION = re.compile(rf"(?P<result>void|int|int64_t) (?P<name>{_NAME})\((?P<arguments>[^()]*)\)")
_VARIABLES = re.compile(rf"(?:const )?(?P<type>{_NAME}) (?P<names>\*?{_NAME}(?:, \*?{_NAME})*)")


class HeaderError(ValueError):
    """A declaration that this parser cannot read. The message has its text."""


@dataclass(frozen=True)
class Function:
    """A prototype as ctypes has it: argtypes and restype."""

    arguments: tuple[type[Any], ...]
    result: type[Any] | None


@dataclass(frozen=True)
class Declarations:
    """Structs and functions by name. A struct's fields are set by keyword; an unknown one is an error."""

    structs: dict[str, type[ctypes.Structure]] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)


def read_header(text: str) -> Declarations:
    """Everything that `text` declares. Raises HeaderError for what is neither a plain struct nor a prototype."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"^\s*#.*$", " ", text, flags=re.MULTILINE)
    declared = Declarations()
    for declaration in _declarations(text):
        if struct := _STRUCT.fullmatch(declaration):
            declared.structs[struct["name"]] = _structure(struct["name"], struct["fields"], declared)
        elif function := _FUNCTION.fullmatch(declaration):
            arguments = [_variables(argument, declared) for argument in function["arguments"].split(",")]
            if any(len(names) != 1 for names in arguments):
                raise HeaderError(f"kernels.h: cannot read the arguments of {declaration!r}")
            result = None if function["result"] == "void" else NUMBERS[function["result"]]
            declared.functions[function["name"]] = Function(tuple(kind for ((_, kind),) in arguments), result)
        else:
            raise HeaderError(f"kernels.h: cannot read {declaration!r}; expected a plain struct or a prototype")
    return declared


def _declarations(text: str) -> list[str]:
    """The text split at semicolons that are not in braces, each part on one line with single spaces."""
    ended = re.compile(r"[^;{}]*(?:\{[^{}]*\}[^;{}]*)?;")
    if rest := " ".join(ended.sub("", text).split()):
        raise HeaderError(f"kernels.h: {rest!r} ends in no semicolon")
    return [" ".join(part.removesuffix(";").split()) for part in ended.findall(text)]


def _structure(name: str, fields: str, known: Declarations) -> type[ctypes.Structure]:
    lines = [" ".join(line.split()) for line in fields.split(";")]
    members = [variable for line in lines if line for variable in _variables(line, known)]
    return type(name, (ctypes.Structure,), {"__slots__": (), "_fields_": members})


def _variables(text: str, known: Declarations) -> list[tuple[str, type[Any]]]:
    """`const float *a, *b` -> each name with its type. A pointer to numbers is c_void_p, one to a struct is typed."""
    match = _VARIABLES.fullmatch(" ".join(text.split()))
    if match is None:
        raise HeaderError(f"kernels.h: cannot read the variables {text!r}")
    return [
        (name.removeprefix("*"), _type(match["type"], name.startswith("*"), known))
        for name in match["names"].split(", ")
    ]


def _type(name: str, pointer: bool, known: Declarations) -> type[Any]:
    if name in known.structs:
        return ctypes.POINTER(known.structs[name]) if pointer else known.structs[name]
    if name == "char" and pointer:
        return ctypes.c_char_p
    if pointer and (name in NUMBERS or name in ONLY_POINTED_TO):
        return ctypes.c_void_p
    if not pointer and name in NUMBERS:
        return NUMBERS[name]
    raise HeaderError(
        f"kernels.h: unknown type {name}{' *' if pointer else ''}; expected a number, a struct or a pointer"
    )

"""How kernels.h is read, and libraries that do not match it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.cpu.header import HEADER, HeaderError, read_header

needs_compiler = pytest.mark.skipif(native.library() is None, reason=native.status().reason)


def test_structs_and_prototypes_become_ctypes() -> None:
    """A field or argument of a wrong type would shift all that follow it."""
    found = read_header(
        """#include "common.h"
        /* a; comment { */
        typedef struct { const void *values; int64_t bits, outputs; } Weight;
        typedef struct { Weight base; const Weight *more; double factor; int32_t n; } Linear;
        int64_t size(const char *name);
        void run(const Linear *linear, const float *x, int bf16, float factor,
                 int64_t rows);"""
    )
    weight, linear = found.structs["Weight"], found.structs["Linear"]
    assert weight._fields_ == [
        ("values", ctypes.c_void_p),
        ("bits", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
    ]
    kinds = [kind for _, kind, *_ in linear._fields_]
    assert kinds == [weight, ctypes.POINTER(weight), ctypes.c_double, ctypes.c_int32]
    assert (found.functions["size"].arguments, found.functions["size"].result) == (
        (ctypes.c_char_p,),
        ctypes.c_int64,
    )
    assert found.functions["run"].result is None
    assert found.functions["run"].arguments == (
        ctypes.POINTER(linear),
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_float,
        ctypes.c_int64,
    )


@pytest.mark.parametrize(
    "text",
    [
        "typedef struct { int64_t sizes[4]; } Shape;",
        "typedef struct { unsigned count; } Shape;",
        "typedef struct { Unknown inner; } Shape;",
        "typedef enum { A, B } Kind;",
        "void run(int64_t);",
        "long run(int64_t rows);",
        "extern int64_t rows;",
        "void run(int64_t rows) { }",
        "void run(int64_t rows)",
    ],
)
def test_declarations_that_the_parser_cannot_read_are_refused(text: str) -> None:
    """If one were skipped, a struct could have a wrong size."""
    with pytest.raises(HeaderError, match=r"kernels\.h"):
        read_header(text)


def test_a_misspelt_field_of_a_struct_is_refused() -> None:
    """By default, ctypes would keep it as an attribute that the library never gets."""
    weight = read_header(HEADER.read_text(encoding="utf-8")).structs["Weight"]
    with pytest.raises(AttributeError):
        weight(value=1)


@needs_compiler
def test_every_struct_has_the_size_that_the_library_gives() -> None:
    """`load` compares the sizes, so the library must know all structs."""
    lib = native.library()
    assert lib is not None
    for name, struct in lib.structs.items():
        assert lib.functions.phi4mm_struct_size(name.encode()) == ctypes.sizeof(struct), name
    assert lib.functions.phi4mm_struct_size(b"Unknown") == -1


def compiled(source: str, folder: Path) -> Path:
    """A shared library of one C file."""
    compiler = next(found for name in ("cc", "gcc", "clang") if (found := shutil.which(name)))
    (folder / "other.c").write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", str(folder / "other.c"), "-o", str(folder / "other.so")], check=True)
    return folder / "other.so"


@needs_compiler
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("long long phi4mm_struct_size(const char *name) { return 8; }", "has no function run"),
        ("long long phi4mm_struct_size(const char *name) { return 8; } void run(void) {}", "has a Pair of 8 bytes"),
    ],
)
def test_a_library_that_does_not_match_the_header_is_not_used(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write past a struct. The kernels are turned off instead, and `status` says why."""
    path = compiled(source, tmp_path)
    declared = read_header(
        "typedef struct { int64_t a, b; } Pair; int64_t phi4mm_struct_size(const char *name); void run(const Pair *x);"
    )
    monkeypatch.setattr(native, "_build", lambda: path)
    monkeypatch.setattr(native, "read_header", lambda text: declared)
    status = native._status.__wrapped__()
    assert status.library is None
    assert reason in status.reason

"""quantization.json: the scheme of a folder with packed weights, and the version of the format.

Such a folder has the original layout's config.json and phi4mm's tensor names. A packed weight `w` is stored as
`w.codes` and `w.scales` (kernels/packed_weight.py), other tensors as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi4mm.config.engine import QUANTIZATIONS, Quantization
from phi4mm.config.fields import Fields
from phi4mm.config.json_file import read_json
from phi4mm.errors import ConfigError

FILE = "quantization.json"
FORMAT = "phi4mm-packed"
VERSION = 2  # 1 had groups of 32


def read_scheme(folder: Path) -> Quantization | None:
    """The scheme of the quantized `folder`; None for a checkpoint that is not quantized. Raises ConfigError."""
    if not (folder / FILE).exists():
        return None
    fields = Fields(read_json(folder / FILE), FILE)
    fields.expect("format", FORMAT)
    version, name = fields.integer("version"), fields.text("scheme")
    if version != VERSION:
        raise ConfigError(
            f"{folder} is quantized in version {version} of the format and this phi4mm reads version {VERSION}; "
            "quantize the checkpoint it was made from again"
        )
    fields.finish(ignored=frozenset())
    for scheme in QUANTIZATIONS:
        if scheme == name:
            return scheme
    raise ConfigError(f"{FILE}: scheme is {name!r:.60}; expected one of {', '.join(QUANTIZATIONS)}")


def scheme_file(scheme: Quantization) -> dict[str, Any]:
    """The content of quantization.json."""
    return {"format": FORMAT, "version": VERSION, "scheme": scheme}

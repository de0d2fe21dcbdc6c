"""quantization.json: says that a folder holds packed weights, by which scheme and in which version of the format.

Such a folder has the original layout's config.json and phi4mm's own tensor names; a packed weight `w` is `w.codes` and
`w.scales` (kernels/packed_weight.py), everything else lies there unchanged.
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
    """What quantization.json holds."""
    return {"format": FORMAT, "version": VERSION, "scheme": scheme}

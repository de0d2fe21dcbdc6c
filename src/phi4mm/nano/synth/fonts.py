"""The fonts of printed words: free ones that Debian packages bring; a quarter of the families is for measuring alone.

    apt-get install fonts-cabin fonts-cantarell fonts-comfortaa fonts-courier-prime fonts-crosextra-caladea
        fonts-dejavu-core fonts-dosis fonts-ebgaramond fonts-hack fonts-inconsolata fonts-jetbrains-mono fonts-lato
        fonts-liberation fonts-linuxlibertine fonts-oldstandard fonts-open-sans fonts-play fonts-quicksand
        fonts-roboto-unhinted fonts-sil-charis fonts-vollkorn

They are read from the folder in PHI4MM_FONTS, /usr/share/fonts by default, and are never shipped. Licences: OFL 1.1,
Apache 2.0, Bitstream Vera (DejaVu, Hack). All of them are needed: a picture is a function of its seed.
"""

from __future__ import annotations

import functools
import os
import random
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

from phi4mm.errors import ConfigError
from phi4mm.nano.synth.split import Split

Font: TypeAlias = ImageFont.FreeTypeFont
# File names without ending; of each family the plain style, the bold one, and others.
TRAIN: tuple[tuple[str, ...], ...] = (
    ("DejaVuSans", "DejaVuSans-Bold"), ("DejaVuSerif", "DejaVuSerif-Bold"), ("DejaVuSansMono", "DejaVuSansMono-Bold"),
    ("LiberationSans-Regular", "LiberationSans-Bold", "LiberationSans-Italic"),
    ("LiberationSerif-Regular", "LiberationSerif-Bold", "LiberationSerif-Italic"),
    ("LiberationMono-Regular", "LiberationMono-Bold"), ("LiberationSansNarrow-Regular", "LiberationSansNarrow-Bold"),
    ("Lato-Regular", "Lato-Bold", "Lato-Italic"), ("Roboto-Regular", "Roboto-Bold", "Roboto-Light"),
    ("RobotoCondensed-Regular", "RobotoCondensed-Bold"),
    ("EBGaramond12-Regular", "EBGaramond12-Regular", "EBGaramond12-Italic"),  # its bold lacks letters
    ("Inconsolata", "Inconsolata"), ("Cantarell-Regular", "Cantarell-Bold"), ("Hack-Regular", "Hack-Bold"),
    ("Comfortaa-Regular", "Comfortaa-Bold"), ("LinLibertine_R", "LinLibertine_RB", "LinLibertine_RI"),
    ("Quicksand-Medium", "Quicksand-Bold"), ("Vollkorn-Regular", "Vollkorn-Bold", "Vollkorn-Italic"),
    ("CharisSIL-Regular", "CharisSIL-Bold", "CharisSIL-Italic"), ("Dosis-Medium", "Dosis-Bold"),
    ("JetBrainsMono-Regular", "JetBrainsMono-Bold"), ("Play-Regular", "Play-Bold"),
)  # fmt: skip
HELD_OUT: tuple[tuple[str, ...], ...] = (
    ("OpenSans-Regular", "OpenSans-Bold", "OpenSans-Italic"), ("Cabin-Regular", "Cabin-Bold"),
    ("Caladea-Regular", "Caladea-Bold", "Caladea-Italic"), ("Courier Prime", "Courier Prime Bold"),
    ("OldStandard-Regular", "OldStandard-Bold"), ("LinBiolinum_R", "LinBiolinum_RB"),
)  # fmt: skip


def draw_family(split: Split, rng: random.Random) -> tuple[str, ...]:
    """The styles of a family of `split`: the plain one, the bold one, and others."""
    return rng.choice(TRAIN if split == "train" else HELD_OUT)


@functools.lru_cache(maxsize=4096)
def load(style: str, size: int) -> Font:
    """The font of a style, `size` pixels high. Raises ConfigError when it is not installed."""
    path = _files(Path(os.environ.get("PHI4MM_FONTS", "/usr/share/fonts"))).get(style)
    if path is None:
        raise ConfigError(
            f"no font file {style!r} in the folder of fonts; install the packages that {__name__} names, "
            "or set PHI4MM_FONTS to a folder that holds them"
        )
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _files(folder: Path) -> dict[str, Path]:
    """The font files under `folder` by their names without ending; .otf is preferred where both exist."""
    return {
        path.stem: path for path in sorted(folder.rglob("*.[ot]tf"), key=lambda path: (path.suffix == ".otf", path))
    }

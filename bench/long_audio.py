"""Thirty minutes of audio through the encoder at the published sizes: peak memory beyond the weights, and exactness.

Bound: 3 GB beyond the weights. The reference for exactness is the same encoder without tiles and with all windows at
once, on a clip that needs several of each.

python bench/long_audio.py CHECKPOINT [--minutes 30]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from measure import GB, provenance

from phi4mm.checkpoint.load import load_model
from phi4mm.machine import peak_resident_bytes, resident_bytes
from phi4mm.model import audio as encoder_module
from phi4mm.processing.audio import WIDE, log_mel


def main() -> None:
    """Load the audio encoder, measure, compare, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    encoder = load_model(args.checkpoint, device="cpu", dtype=torch.bfloat16, modalities=("speech",)).audio
    assert encoder is not None
    noise = np.random.default_rng(0).normal(size=int(args.minutes * 60 * WIDE)).astype(np.float32) * 0.1
    features = torch.from_numpy(log_mel(noise, WIDE))[None]
    with torch.inference_mode():
        error = untiled_difference(encoder.encoder, features[:, :6000])
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak (VmHWM)
        before = resident_bytes()
        start = time.perf_counter()
        embeddings = encoder(features, torch.tensor([features.shape[1]]), ["speech"])[0]
        seconds = time.perf_counter() - start
    record = {
        "bench": "long_audio",
        "minutes": args.minutes,
        "tokens": len(embeddings),
        "peak_beyond_weights_gb": round((peak_resident_bytes() - before) / GB, 3),
        "bound_gb": 3.0,
        "seconds": round(seconds, 1),
        "real_time_factor": round(args.minutes * 60 / seconds, 1),
        "largest_difference_to_untiled": error,
        **provenance(),
    }
    print(json.dumps(record))


def untiled_difference(encoder: encoder_module.AudioEncoder, features: torch.Tensor) -> float:
    """Largest relative difference between the encoder with and without tiles, on a 60 s clip."""
    frames = torch.tensor([features.shape[1]])
    tiled = encoder(features, frames).float()
    tile, windows = encoder_module.TILE, encoder_module.WINDOWS_AT_ONCE
    encoder_module.TILE = encoder_module.WINDOWS_AT_ONCE = 1 << 30
    try:
        whole = encoder(features, frames).float()
    finally:
        encoder_module.TILE, encoder_module.WINDOWS_AT_ONCE = tile, windows
    return float((tiled - whole).abs().max() / whole.abs().max())


if __name__ == "__main__":
    main()

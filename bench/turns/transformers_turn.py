"""One turn of transformers' own class in bf16: text, an image and an audio clip, each with its adapter; greedy.

Images and clips are processed by phi4mm, with the arrays of the published code, outside the measured time.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import transformers
from torch import Tensor
from transformers import DynamicCache, Phi4MultimodalForCausalLM
from turn import AUDIO_SECONDS, IMAGE_SIDE, QUESTION, arguments, report, resident_gb, seconds

from phi4mm.config.model import ADAPTER_FOLDERS
from phi4mm.processing.audio import WIDE, audio_tokens, log_mel
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import Adapter

IMAGE_TAG, AUDIO_TAG = 200010, 200011
Inputs = dict[str, Tensor]


def main() -> None:
    """Load, warm up, measure one request of each kind."""
    args = arguments()
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    model: Any = Phi4MultimodalForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16, attn_implementation="sdpa")
    model.eval()
    load = time.perf_counter() - start
    with torch.inference_mode():
        first_token(model, {"input_ids": ids(16)})
        text = {"input_ids": ids(args.prompt)}
        cache = DynamicCache(config=model.config)
        prefill = seconds(lambda: first_token(model, text, cache))
        step = {"input_ids": ids(1)}
        decode = statistics.median(seconds(lambda: first_token(model, step, cache)) for _ in range(args.tokens))
        image = with_adapter(model, args.model, "vision", make_image())
        audio = with_adapter(model, args.model, "speech", make_clip())
    record = {
        "version": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "quantize": None,
        "threads": args.threads,
        "load_s": load,
        "resident_gb": resident_gb(),
        "prefill_tok_s": args.prompt / prefill,
        "decode_tok_s": 1 / decode,
        "decode_gb": sum(p.numel() * p.element_size() for n, p in model.named_parameters() if is_read(n)) / 1e9,
        "image_first_token_s": image,
        "audio_first_token_s": audio,
    }
    report(record, {})


def first_token(model: Any, inputs: Inputs, cache: DynamicCache | None = None) -> Tensor:
    """The most likely token after `inputs`."""
    used = DynamicCache(config=model.config) if cache is None else cache
    token: Tensor = model(**inputs, past_key_values=used, use_cache=True, logits_to_keep=1).logits.argmax(-1)
    return token


def with_adapter(model: Any, folder: Path, adapter: Adapter, inputs: Inputs) -> float:
    """Seconds to the first token with one adapter, which is loaded before and deleted after."""
    model.load_adapter(str(folder / ADAPTER_FOLDERS[adapter]), adapter_name=adapter)
    model.set_adapter(adapter)
    elapsed = seconds(lambda: first_token(model, inputs))
    model.delete_adapter(adapter)
    return elapsed


def make_image() -> Inputs:
    """An image of noise and a short question."""
    processor = ImageProcessor()
    noise = np.random.default_rng(0).integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.uint8)
    tiles = to_tiles(processor(PIL.Image.fromarray(noise)))
    return {
        "input_ids": ids(len(QUESTION), [IMAGE_TAG] * processor.plan(IMAGE_SIDE, IMAGE_SIDE).tokens),
        "image_pixel_values": torch.from_numpy(tiles.pixels)[None].bfloat16(),
        "image_sizes": torch.tensor([tiles.grid]) * IMAGE_SIDE,
        "image_attention_mask": torch.from_numpy(tiles.mask)[None],
    }


def make_clip() -> Inputs:
    """An audio clip of noise and a short question."""
    noise = np.random.default_rng(0).normal(size=AUDIO_SECONDS * WIDE).astype(np.float32) * 0.1
    features = torch.from_numpy(log_mel(noise, WIDE))
    tokens = audio_tokens(len(features))
    return {
        "input_ids": ids(len(QUESTION), [AUDIO_TAG] * tokens),
        "audio_input_features": features[None].bfloat16(),
        "audio_embed_sizes": torch.tensor([tokens]),
    }


def ids(count: int, before: list[int] | None = None) -> Tensor:
    """(1, S) int64 ids: placeholders, then ordinary tokens."""
    return torch.tensor([[*(before or []), *(1000 + 7 * n for n in range(count))]])


def is_read(name: str) -> bool:
    """Whether a decode step reads the parameter: layers, norm and tied head, no tower and no adapter."""
    return name.startswith(("model.layers.", "model.norm.", "model.embed_tokens.")) and "lora_" not in name


if __name__ == "__main__":
    main()

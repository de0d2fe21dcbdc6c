"""One turn of mistral.rs on the published layout, quantized while it loads: text, an image, an audio clip; greedy."""

from __future__ import annotations

import base64
import io
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import PIL.Image
import soundfile
from mistralrs import ChatCompletionRequest, MultimodalArchitecture, Runner, Which
from turn import AUDIO_SECONDS, IMAGE_SIDE, QUESTION, arguments, rates, report, resident_gb, stamps

QUANTIZE = "Q4K"
CHAT_TOKENS = 3  # of the chat format around a text
# Placeholders written as text: the library counts them and adds none itself here.
IMAGE_TAG, AUDIO_TAG = "<|endoftext10|>", "<|endoftext11|>"


def main() -> None:
    """Load, warm up, measure one request of each kind."""
    args = arguments()
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    which = Which.MultimodalPlain(model_id=str(args.model), arch=MultimodalArchitecture.Phi4MM)
    runner = Runner(which=which, in_situ_quant=QUANTIZE, prefix_cache_n=0)
    load = time.perf_counter() - start
    ask(runner, "hello", 2)
    text = ask(
        runner, "x" * (args.prompt - CHAT_TOKENS), args.tokens + 1
    )  # a letter is a token of the stand-in tokenizer
    image = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)).save(image, "PNG")
    image = ask(runner, [part("image_url", "image/png", image), words(IMAGE_TAG + QUESTION)], 1)
    clip = io.BytesIO()
    soundfile.write(clip, rng.normal(size=AUDIO_SECONDS * 16000) * 0.1, 16000, format="WAV")
    audio = ask(runner, [part("audio_url", "audio/wav", clip), words(AUDIO_TAG + QUESTION)], 1)
    record = {
        "version": f"mistralrs {version('mistralrs')}",
        "quantize": QUANTIZE,
        "threads": args.threads,
        "load_s": load,
        "resident_gb": resident_gb(),
        **rates(text, args.prompt),
        "image_first_token_s": image[0],
        "audio_first_token_s": audio[0],
    }
    report(record, {"decode_gb": "it mixes Q4K and Q6K by rules of its own"})


def ask(runner: Runner, content: Any, tokens: int) -> list[float]:
    """Seconds to each token of the answer."""
    request = ChatCompletionRequest(
        model="default",
        messages=[{"role": "user", "content": content}],
        max_tokens=tokens,
        temperature=0.0,
        stream=True,
        ignore_eos=True,
    )
    return stamps(runner.send_chat_completion_request(request))


def part(kind: str, mime_type: str, file: io.BytesIO) -> dict[str, Any]:
    """A media item inside a message, as a data URL."""
    return {"type": kind, kind: {"url": f"data:{mime_type};base64,{base64.b64encode(file.getvalue()).decode()}"}}


def words(text: str) -> dict[str, str]:
    """A text part of a message with media."""
    return {"type": "text", "text": text}


if __name__ == "__main__":
    main()

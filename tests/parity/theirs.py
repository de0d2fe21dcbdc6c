"""Runs transformers' own class on phi4mm's prompts.

The class computes the same as the published code in eager attention, one request at a time, with its adapter chosen by
hand. test_differences.py shows what happens otherwise.

B sequences of a batch, S tokens of one sequence, D model width, V vocabulary, A audio clips, F mel frames, Y mel bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import Phi4MultimodalForCausalLM

from phi4mm.config.model import ADAPTER_FOLDERS
from phi4mm.diagnostics.verify import PLACEHOLDER
from phi4mm.processing.audio import audio_tokens
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import Adapter, AudioFrames, ImageTiles, Prompt

Theirs: TypeAlias = Any  # transformers types its classes only in part, without the methods of peft
Inputs: TypeAlias = "dict[str, Tensor]"
PAD = 199999
DIFFERENT = 1e-2  # of the largest value: fifty times the bound below which results count as equal


def load_theirs(folder: Path) -> tuple[Theirs, dict[str, Any]]:
    """The class in eager attention with both adapters, and its report on the loaded weights."""
    loaded: Any = Phi4MultimodalForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    for adapter, name in ADAPTER_FOLDERS.items():
        model.load_adapter(str(folder / name), adapter_name=adapter)
    return model, report


def adapted(theirs: Theirs, adapter: Adapter | None) -> Theirs:
    """`theirs`, set to run with one adapter or none."""
    if adapter is None:
        theirs.disable_adapters()
    else:
        theirs.enable_adapters()
        theirs.set_adapter(adapter)
    return theirs


def inputs(prompt: Prompt) -> Inputs:
    """A prompt as arguments of the class, with clips padded to the longest, as its processor does."""
    text: Inputs = {"input_ids": torch.tensor([prompt.ids])}
    tiles = [to_tiles(span.data) for span in prompt.spans if not isinstance(span.data, AudioFrames)]
    clips = [span.data for span in prompt.spans if isinstance(span.data, AudioFrames)]
    return text | (_image_inputs(*tiles) if tiles else {}) | (_audio_inputs(clips) if clips else {})


def _image_inputs(tiles: ImageTiles) -> Inputs:
    return {
        "image_pixel_values": torch.from_numpy(tiles.pixels)[None],
        "image_sizes": torch.tensor([tiles.grid]) * tiles.pixels.shape[-1],
        "image_attention_mask": torch.from_numpy(tiles.mask)[None],
    }


def _audio_inputs(clips: Sequence[AudioFrames]) -> Inputs:
    frames = torch.tensor([len(clip.features) for clip in clips])
    audio = {
        "audio_input_features": padded([torch.from_numpy(clip.features) for clip in clips]),
        "audio_embed_sizes": torch.tensor([audio_tokens(int(count)) for count in frames]),
    }
    mask = torch.arange(int(frames.max()))[None] < frames[:, None]
    return audio | ({"audio_attention_mask": mask} if len(clips) > 1 else {})


def padded(features: list[Tensor]) -> Tensor:
    """(A, F, Y), zero past each clip's end."""
    return torch.nn.utils.rnn.pad_sequence(features, batch_first=True)


def batch_of_ids(*sequences: Sequence[int]) -> Inputs:
    """Sequences of ids, padded on the left, with the positions that `generate` uses."""
    longest = max(len(ids) for ids in sequences)
    mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in sequences])
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(ids)) + list(ids) for ids in sequences]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }


def logits(theirs: Theirs, given: Inputs, *, last: int = 0) -> Tensor:
    """(B, S, V) logits of one forward pass without cache; only of the `last` tokens if that is not 0."""
    with torch.inference_mode():
        result: Tensor = theirs(**given, use_cache=False, logits_to_keep=last).logits
    return result


def their_answer(theirs: Theirs, prompt: Prompt, tokens: int) -> list[int]:
    """The `tokens` tokens that the class generates greedily; EOS does not end the answer."""
    ids: Tensor = theirs.generate(
        **inputs(prompt), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=PAD
    )
    return ids[0, len(prompt.ids) :].tolist()


def encoder_tokens(theirs: Theirs, given: Inputs) -> Tensor:
    """(placeholders, D): the embeddings that the class inserts at the placeholders, in the order of the batch."""
    ids = given["input_ids"]
    media = {name: value for name, value in given.items() if name.startswith(("image_", "audio_"))}
    with torch.inference_mode():
        zeros = torch.zeros(*ids.shape, theirs.config.hidden_size)
        filled: Tensor = theirs.model.embed_tokens_extend(ids, zeros, **media)
    return filled[torch.isin(ids, torch.tensor(list(PLACEHOLDER.values())))]


def error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference divided by the largest value of `expected`."""
    assert actual.shape == expected.shape, f"{tuple(actual.shape)}, expected {tuple(expected.shape)}"
    with torch.inference_mode():
        return float((actual - expected).abs_().max() / expected.abs().max())

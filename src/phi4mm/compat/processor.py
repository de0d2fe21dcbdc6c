"""Prompts with their media to tensors of the published names.

B prompts, S tokens of the longest; for the media see phi4mm.compat.arrays.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from phi4mm.checkpoint.hub import resolve
from phi4mm.compat.arrays import NAMES, to_arrays
from phi4mm.compat.device import Device, resolved_device
from phi4mm.compat.tokenizer import CardTokenizer
from phi4mm.config.validate import refuse_unknown
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.load import load_processor
from phi4mm.processing.chat_template import count_media_tags
from phi4mm.processing.processor import Processor
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image


# Any and not Tensor: `generate(**inputs, max_new_tokens=9)` must pass a type checker.
class Inputs(Mapping[str, Any]):
    """What a processor makes and `generate(**inputs)` takes: tensors by their published names, as items or attributes.

    Media that no prompt has are not there. Names, shapes and dtypes: phi4mm.compat.arrays.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getattr__(self, name: str) -> Tensor:
        if name not in NAMES or name not in self._tensors:
            raise AttributeError(f"these inputs hold no {name}")
        return self._tensors[name]

    def to(self, device: Device) -> Inputs:
        """The same inputs on another device; `self` stays as it is. Raises ConfigError: no such device."""
        place = resolved_device(device)
        return Inputs({name: tensor.to(place) for name, tensor in self._tensors.items()})


class AutoProcessor:
    """Prompts with their images and clips, to tensors; ids to text."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self.tokenizer = CardTokenizer(processor.tokenizer)
        self.decode, self.batch_decode = self.tokenizer.decode, self.tokenizer.batch_decode

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        trust_remote_code: bool = False,
        revision: str | None = None,
        **unknown: object,
    ) -> AutoProcessor:
        """The processor of "nano", a folder or a hub id.

        trust_remote_code  without effect: no code of a checkpoint is ever run
        revision           branch, tag or commit of a hub id
        raises             ConfigError, CheckpointError
        """
        known = inspect.signature(cls.from_pretrained).parameters.keys() - {"unknown"}
        refuse_unknown("AutoProcessor.from_pretrained", unknown, known)
        return cls(load_processor(resolve(model, revision=revision)))

    def __call__(
        self, text: str | Sequence[str], images: object = None, audios: object = None, return_tensors: str = "pt"
    ) -> Inputs:
        """Prompts in the published format, padded on the left to one length.

        text     one prompt or several; the marks of each are numbered from 1
        images   one image or a list, in the order of their marks across all prompts: paths, bytes, PIL, arrays
        audios   one audio clip or a list, likewise: (samples, rate), paths, bytes
        raises   InputError for damaged media, and where marks and media do not match; ConfigError
        """
        if return_tensors != "pt":
            raise ConfigError(f"return_tensors is {return_tensors!r}; tensors are PyTorch's, so pass 'pt'")
        texts = [text] if isinstance(text, str) else list(text)
        if not texts or not all(isinstance(prompt, str) for prompt in texts):
            raise InputError(f"text is {type(text).__name__}; expected a prompt, or a list of at least one")
        given_images = [
            source if isinstance(source, Image) else Image(source) for source in _listed(images, list, tuple)
        ]
        # A tuple is one audio clip: samples and their rate.
        given_audios = [source if isinstance(source, Audio) else Audio(source) for source in _listed(audios, list)]
        prompts = self._prompts(texts, given_images, given_audios)
        arrays = to_arrays(prompts, self.tokenizer.pad_token_id)
        return Inputs({name: torch.from_numpy(array) for name, array in arrays.items()})

    def _prompts(self, texts: Sequence[str], images: Sequence[Image], audios: Sequence[Audio]) -> list[Prompt]:
        marks = [count_media_tags(text, self._processor.tokenizer) for text in texts]
        for n, (kind, given) in enumerate((("image", len(images)), ("audio", len(audios)))):
            if (held := sum(mark[n] for mark in marks)) != given:
                raise InputError(f"the text has {held} {kind} tags and {given} were given; write one <|{kind}_n|> each")
        next_images, next_audios = iter(images), iter(audios)
        prompts = []
        for number, (text, (seen, heard)) in enumerate(zip(texts, marks, strict=True), 1):
            try:
                made = self._processor.prompt(text, list(islice(next_images, seen)), list(islice(next_audios, heard)))
            except InputError as error:
                raise InputError(f"prompt {number}: {error}") from error
            prompts.append(made)
        return prompts


def _listed(media: object, *kinds: type) -> list[Any]:
    return [] if media is None else list(media) if isinstance(media, kinds) else [media]  # type: ignore[call-overload]

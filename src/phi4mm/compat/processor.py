"""Convert prompts with their media to tensors with the published names.

The names and shapes are explained in phi4mm.compat.arrays.
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
    """The result of a processor, for `generate(**inputs)`: tensors by their published names, as items or attributes.

    Tensors for a kind of media that no prompt has are missing. Names, shapes and dtypes: phi4mm.compat.arrays.
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
            raise AttributeError(f"these inputs have no {name}")
        return self._tensors[name]

    def to(self, device: Device) -> Inputs:
        """A copy of the inputs on another device. Raises ConfigError if there is no such device."""
        name_of_device = resolved_device(device)
        return Inputs({name: tensor.to(name_of_device) for name, tensor in self._tensors.items()})


class AutoProcessor:
    """Converts prompts with images and audio clips to tensors, and token ids to text."""

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
        """Load the processor of "nano", a folder or a hub id.

        trust_remote_code  no effect: code of a checkpoint is never run
        revision           branch, tag or commit of a hub id
        raises             ConfigError, CheckpointError
        """
        known = inspect.signature(cls.from_pretrained).parameters.keys() - {"unknown"}
        refuse_unknown("AutoProcessor.from_pretrained", unknown, known)
        return cls(load_processor(resolve(model, revision=revision)))

    def __call__(
        self, text: str | Sequence[str], images: object = None, audios: object = None, return_tensors: str = "pt"
    ) -> Inputs:
        """Convert prompts in the published format to tensors, padded on the left to one length.

        text     one prompt or several; media tags take the items in order, whatever their numbers
        images   one image or a list, in the order of their tags across all prompts: paths, bytes, PIL, arrays
        audios   one audio clip or a list, likewise: (samples, rate), paths, bytes
        raises   InputError for damaged media, and if tags and media do not match; ConfigError
        """
        if return_tensors != "pt":
            raise ConfigError(f"return_tensors is {return_tensors!r}; expected 'pt', as all tensors are PyTorch's")
        texts = [text] if isinstance(text, str) else list(text)
        if not texts or not all(isinstance(prompt, str) for prompt in texts):
            raise InputError(f"text is {type(text).__name__}; expected a prompt, or a list of at least one")
        given_images = [
            source if isinstance(source, Image) else Image(source) for source in _listed(images, list, tuple)
        ]
        # A tuple is one audio clip: (samples, rate).
        given_audios = [source if isinstance(source, Audio) else Audio(source) for source in _listed(audios, list)]
        prompts = self._prompts(texts, given_images, given_audios)
        arrays = to_arrays(prompts, self.tokenizer.pad_token_id)
        return Inputs({name: torch.from_numpy(array) for name, array in arrays.items()})

    def _prompts(self, texts: Sequence[str], images: Sequence[Image], audios: Sequence[Audio]) -> list[Prompt]:
        counts = [count_media_tags(text, self._processor.tokenizer) for text in texts]
        for n, (kind, given) in enumerate((("image", len(images)), ("audio", len(audios)))):
            if (tags := sum(count[n] for count in counts)) != given:
                raise InputError(
                    f"the text has {tags} {kind} tags for {given} {kind} items; write one <|{kind}_n|> for each item"
                )
        next_images, next_audios = iter(images), iter(audios)
        prompts = []
        for number, (text, (n_images, n_audios)) in enumerate(zip(texts, counts, strict=True), 1):
            try:
                prompt = self._processor.prompt(
                    text, list(islice(next_images, n_images)), list(islice(next_audios, n_audios))
                )
            except InputError as error:
                raise InputError(f"prompt {number}: {error}") from error
            prompts.append(prompt)
        return prompts


def _listed(media: object, *kinds: type) -> list[Any]:
    return [] if media is None else list(media) if isinstance(media, kinds) else [media]  # type: ignore[call-overload]

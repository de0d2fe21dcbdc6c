"""Convert prompts with their media to tensors with the published names.

The names and shapes are explained in phi4mm.compat.arrays.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from phi4mm.checkpoint.hub import resolve
from phi4mm.compat.arrays import to_arrays
from phi4mm.compat.conversation import read_conversation
from phi4mm.compat.inputs import Inputs
from phi4mm.compat.keywords import PROCESS, PROCESSOR, TEMPLATE
from phi4mm.compat.tokenizer import TEMPLATE_WORKS, CardTokenizer
from phi4mm.compat.values import check_values
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.inputs import as_audios, as_images
from phi4mm.inference.load import load_processor
from phi4mm.processing.chat_template import count_media_tags
from phi4mm.processing.processor import Processor
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image


class AutoProcessor:
    """Converts prompts with images and audio clips to tensors, and token ids to text."""

    def __init__(self, processor: Processor, folder: Path) -> None:
        """`folder` is that of the checkpoint."""
        self._processor = processor
        self.tokenizer = CardTokenizer(processor.tokenizer, folder)
        self.decode, self.batch_decode = self.tokenizer.decode, self.tokenizer.batch_decode
        self.save_pretrained = self.tokenizer.save_pretrained

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        dynamic_hd: int | None = None,
        **others: object,
    ) -> AutoProcessor:
        """Load the processor of "nano", a folder or a hub id.

        revision          branch, tag or commit of a hub id
        local_files_only  download nothing
        dynamic_hd        the most crops of one image, 1 to 64; None: the checkpoint's
        raises            ConfigError, CheckpointError; ConfigError for keywords that phi4mm.compat.keywords refuses
        """
        PROCESSOR.check(others, ("revision", "local_files_only", "dynamic_hd"))
        check_values(revision=revision, local_files_only=local_files_only, dynamic_hd=dynamic_hd)
        folder = resolve(pretrained_model_name_or_path, revision=revision, local_files_only=local_files_only)
        return cls(load_processor(folder, max_crops=None if dynamic_hd is None else int(dynamic_hd)), folder)

    def __call__(
        self,
        text: str | Sequence[str],
        images: object = None,
        audios: object = None,
        *,
        audio: object = None,
        return_tensors: str | None = "pt",
        **others: object,
    ) -> Inputs:
        """Convert prompts in the published format to tensors, padded on the left to one length.

        text     one prompt or several; media tags take the items in order, whatever their numbers
        images   one image or a list, in the order of their tags across all prompts: paths, bytes, PIL, arrays
        audios   one audio clip or a list, likewise: (samples, rate), paths, bytes; `audio` is the same
        raises   InputError for damaged media, and if tags and media do not match; ConfigError
        """
        PROCESS.check(others, ("text", "images", "audios", "audio", "return_tensors"))
        stated = {name: others[name] for name in ("padding", "padding_side") if name in others}
        check_values(return_tensors=return_tensors, **stated)
        if audio is not None and audios is not None:
            raise ConfigError("audio and audios were both given; they are one, so give audios")
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(each, str) for each in texts):
            raise InputError(f"text is {type(text).__name__}; expected a prompt, or a list of at least one")
        # A tuple is several images, but one audio clip: (samples, rate).
        given_audios = as_audios(_listed(audio if audios is None else audios, list))
        prompts = self._prompts(texts, as_images(_listed(images, list, tuple)), given_audios)
        arrays = to_arrays(prompts, self.tokenizer.pad_token_id)
        return Inputs({name: torch.from_numpy(array) for name, array in arrays.items()})

    def apply_chat_template(
        self,
        conversation: Iterable[Mapping[str, Any]],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = None,
        **others: object,
    ) -> Any:
        """A conversation in the published format: text, or with tokenize=True its inputs, media included.

        conversation  messages as CardTokenizer.apply_chat_template takes them; content may also be a list of parts,
                      {"type": "text", "text": ...}, {"type": "image", "image": ...}, {"type": "audio", "audio": ...}
        return_dict   all inputs; otherwise input_ids (1, S) alone, a list without return_tensors
        raises        InputError, ConfigError
        """
        TEMPLATE.check(others, TEMPLATE_WORKS)
        check_values(
            tokenize=tokenize,
            add_generation_prompt=add_generation_prompt,
            return_dict=return_dict,
            return_tensors=return_tensors,
        )
        found = read_conversation(conversation, add_generation_prompt)
        if not tokenize:
            return found.text
        inputs = self(found.text, found.images, found.audios)
        if return_dict:
            return inputs
        return inputs.input_ids if return_tensors else inputs.input_ids.tolist()

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

"""The model card's names: its script runs with `transformers` in its import line changed to `phi4mm.compat`.

Everything runs through `phi4mm.inference`: prompts become tensors of the published names, and `generate` reads prompts
back from such tensors alone, so that a script may look at them, move them or build them itself. Where a published
keyword has no meaning here it is refused, or its docstring says that it has no effect.

Shape legend: B prompts, S tokens of the longest; for the media see phi4mm.compat.arrays.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from phi4mm.checkpoint.hub import resolve as resolve_folder
from phi4mm.compat.arrays import NAMES, from_arrays, to_arrays
from phi4mm.config.engine import EngineConfig
from phi4mm.config.json_file import read_json
from phi4mm.config.load import load_config
from phi4mm.config.model import Phi4MMConfig
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.load import eos_ids, load_model, load_processor
from phi4mm.inference.model import Model, Stream
from phi4mm.inference.resolve import resolve
from phi4mm.processing.chat_template import count_marks
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.messages import Audio, Image
from phi4mm.protocol.sampling import SamplingParams

__all__ = ["AutoModelForCausalLM", "AutoProcessor", "CardTokenizer", "GenerationConfig", "Inputs"]

Device: TypeAlias = "str | int | torch.device"
Ids: TypeAlias = "Tensor | npt.NDArray[Any] | Sequence[int]"
ATTENTION = (None, "eager", "sdpa", "flash_attention_2")
ROLES = ("system", "user", "assistant", "tool")
# Keys of a generation_config.json that say nothing about the answer.
WITHOUT_EFFECT = ("_from_model_config", "transformers_version", "use_cache")


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
        place = _resolved(device)
        return Inputs({name: tensor.to(place) for name, tensor in self._tensors.items()})


class CardTokenizer:
    """The model's tokenizer by the names that scripts use."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = self.pad_token_id = tokenizer.id(Special.ENDOFTEXT)

    def decode(
        self, ids: Ids, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """Text of (S,) ids. Cleaning up spaces would change the answer's text and is refused. Raises InputError."""
        if clean_up_tokenization_spaces:
            raise ConfigError(
                "clean_up_tokenization_spaces is True; text comes only as its tokens spell it, so pass False"
            )
        found = np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids)
        if found.ndim > 1 or (found.size and found.dtype.kind not in "iu"):
            raise InputError(f"ids have shape {found.shape} and are {found.dtype}; expected one row of whole numbers")
        return self._tokenizer.decode(found.reshape(-1).tolist(), skip_special=skip_special_tokens)

    def batch_decode(
        self, ids: Iterable[Ids], skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """Text of each row, as `decode`."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, str]], *, tokenize: bool = True, add_generation_prompt: bool = False
    ) -> str | list[int]:
        """A conversation in the published format, as text (`tokenize=False`) or ids.

        conversation  {"role": ..., "content": text} each; a system message may carry its tools' JSON under "tools".
                      As published, text that spells special tokens or media marks becomes them: `phi4mm.load(...).chat`
                      is the door for text of strangers.
        raises        InputError
        """
        text = "".join(_turn(message, number) for number, message in enumerate(conversation, 1))
        text += Special.ASSISTANT.value if add_generation_prompt else Special.ENDOFTEXT.value
        return self._tokenizer.encode_prompt(text) if tokenize else text


class AutoProcessor:
    """Prompts with their pictures and recordings, to tensors; ids to text."""

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
        _refuse("AutoProcessor.from_pretrained", unknown, inspect.signature(cls.from_pretrained).parameters)
        return cls(load_processor(resolve_folder(model, revision=revision)))

    def __call__(
        self, text: str | Sequence[str], images: object = None, audios: object = None, return_tensors: str = "pt"
    ) -> Inputs:
        """Prompts in the published format, padded on the left to one length.

        text     one prompt or several; the marks of each are numbered from 1
        images   one picture or a list, in the order of their marks across all prompts: paths, bytes, PIL, arrays
        audios   one recording or a list, likewise: (samples, rate), paths, bytes
        raises   InputError for damaged media, and where marks and media do not match; ConfigError
        """
        if return_tensors != "pt":
            raise ConfigError(f"return_tensors is {return_tensors!r}; tensors are PyTorch's, so pass 'pt'")
        texts = [text] if isinstance(text, str) else list(text)
        if not texts or not all(isinstance(prompt, str) for prompt in texts):
            raise InputError(f"text is {type(text).__name__}; expected a prompt, or a list of at least one")
        pictures = [source if isinstance(source, Image) else Image(source) for source in _listed(images, list, tuple)]
        # A tuple is one recording: samples and their rate.
        recordings = [source if isinstance(source, Audio) else Audio(source) for source in _listed(audios, list)]
        prompts = self._prompts(texts, pictures, recordings)
        arrays = to_arrays(prompts, self.tokenizer.pad_token_id)
        return Inputs({name: torch.from_numpy(array) for name, array in arrays.items()})

    def _prompts(self, texts: Sequence[str], images: Sequence[Image], audios: Sequence[Audio]) -> list[Prompt]:
        marks = [count_marks(text, self._processor.tokenizer) for text in texts]
        for n, (kind, given) in enumerate((("image", len(images)), ("audio", len(audios)))):
            if (held := sum(mark[n] for mark in marks)) != given:
                raise InputError(
                    f"the text has {held} {kind} marks and {given} were given; write one <|{kind}_n|> each"
                )
        pictures, recordings = iter(images), iter(audios)
        prompts = []
        for number, (text, (seen, heard)) in enumerate(zip(texts, marks, strict=True), 1):
            try:
                made = self._processor.prompt(text, list(islice(pictures, seen)), list(islice(recordings, heard)))
            except InputError as error:
                raise InputError(f"prompt {number}: {error}") from error
            prompts.append(made)
        return prompts


@dataclass(frozen=True)
class GenerationConfig:
    """How to generate, by the published names and with transformers' defaults, but for the length.

    max_new_tokens  most tokens of an answer (transformers stops after 20 tokens of prompt and answer unless told)
    do_sample       false takes the most likely token, whatever temperature, top_k, top_p and min_p are
    stop_strings    each ends the answer and is part of it
    num_beams       1: there is no beam search
    eos_token_id    must be the model's own; None says nothing
    pad_token_id    fills shorter answers; None is the tokenizer's
    raises          ConfigError, InputError for impossible values
    """

    max_new_tokens: int = 1000
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop_strings: str | Sequence[str] = ()
    num_beams: int = 1
    bos_token_id: int | None = None
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_new_tokens, int) or isinstance(self.max_new_tokens, bool) or self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens!r}; expected a whole number from 1")
        if not isinstance(self.do_sample, bool):
            raise ConfigError(f"do_sample is {self.do_sample!r}; expected True or False")
        if self.num_beams != 1:
            raise ConfigError(f"num_beams is {self.num_beams!r}; answers are decoded with 1 beam, so leave it out")
        if not all(isinstance(id, int) and id >= 0 for id in (*self.eos_ids, self.pad_token_id or 0)):
            raise ConfigError(
                f"eos_token_id is {self.eos_token_id!r} and pad_token_id {self.pad_token_id!r}; expected token ids"
            )
        self.sampling(None)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        config_file_name: str = "generation_config.json",
        *,
        revision: str | None = None,
    ) -> GenerationConfig:
        """Read it from the folder of `model`, as `AutoProcessor.from_pretrained` finds it. Raises ConfigError."""
        if os.path.basename(config_file_name) != config_file_name:
            raise ConfigError(f"config_file_name is {config_file_name!r}; expected a file's name without a folder")
        path = resolve_folder(model, revision=revision) / config_file_name
        stated = {name: value for name, value in read_json(path).items() if name not in WITHOUT_EFFECT}
        _refuse(str(path), stated, [field.name for field in fields(cls)])
        try:
            return cls(**{name: value for name, value in stated.items() if value is not None})
        except (ConfigError, InputError) as error:
            raise ConfigError(f"{path}: {error}") from error

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The stated ids that end an answer; none if nothing is stated."""
        stated = self.eos_token_id
        return () if stated is None else (stated,) if isinstance(stated, int) else tuple(stated)

    def sampling(self, seed: int | None) -> SamplingParams:
        """The same in phi4mm's own words. Raises InputError."""
        return SamplingParams(
            temperature=self.temperature if self.do_sample else 0.0,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            stop=(self.stop_strings,) if isinstance(self.stop_strings, str) else tuple(self.stop_strings),
            seed=seed,
            max_tokens=self.max_new_tokens,
        )


class AutoModelForCausalLM:
    """A loaded model with the published `generate`. Its weights never ask for gradients."""

    def __init__(self, model: Model, generation_config: GenerationConfig) -> None:
        self._model = model
        self.generation_config = generation_config

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        *,
        device_map: Device | None = None,
        torch_dtype: str | torch.dtype | None = "auto",
        trust_remote_code: bool = False,
        attn_implementation: str | None = None,
        _attn_implementation: str | None = None,
        revision: str | None = None,
        **unknown: object,
    ) -> AutoModelForCausalLM:
        """Load "nano", a folder or a hub id.

        device_map           "cpu", "cuda", "cuda:1", or "auto": CUDA if it is there; None is the CPU. Always one device
        torch_dtype          "float32", "bfloat16", "float16" or torch's own; "auto" and None as in `phi4mm.load`
        trust_remote_code    without effect: no code of a checkpoint is ever run
        attn_implementation  eager, sdpa or flash_attention_2 are taken and without effect: attention is PyTorch's own
        revision             branch, tag or commit of a hub id
        raises               ConfigError, CheckpointError
        """
        _refuse("AutoModelForCausalLM.from_pretrained", unknown, inspect.signature(cls.from_pretrained).parameters)
        for name in (attn_implementation, _attn_implementation):
            if name not in ATTENTION:
                raise ConfigError(
                    f"attn_implementation is {name!r}; expected one of {', '.join(filter(None, ATTENTION))}"
                )
        device = _resolved("cpu" if device_map is None else device_map)
        folder = resolve_folder(model, revision=revision)
        loaded = load_model(folder, device=device, dtype=str(torch_dtype or "auto").removeprefix("torch."))
        stated = (folder / "generation_config.json").is_file()
        generation = GenerationConfig.from_pretrained(folder) if stated else GenerationConfig()
        return cls(loaded, replace(generation, eos_token_id=eos_ids(folder, load_config(folder))))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self._model.settings.device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, which the model computes in."""
        dtype: torch.dtype = getattr(torch, self._model.settings.dtype)
        return dtype

    @property
    def config(self) -> Phi4MMConfig:
        """The model's facts."""
        return self._model.config

    def to(self, device: Device) -> AutoModelForCausalLM:
        """Move the weights in place, in their dtype, and return self. Raises ConfigError: no such device."""
        self._model.move(_resolved(device))
        return self

    def cuda(self, index: int | None = None) -> AutoModelForCausalLM:
        """Move to a CUDA device. Raises ConfigError where there is none."""
        return self.to("cuda" if index is None else index)

    def cpu(self) -> AutoModelForCausalLM:
        """Move to the CPU."""
        return self.to("cpu")

    def eval(self) -> AutoModelForCausalLM:
        """Return self, which is always in evaluation mode."""
        return self

    def generate(
        self,
        *,
        generation_config: GenerationConfig | None = None,
        max_new_tokens: int | None = None,
        do_sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        stop_strings: str | Sequence[str] | None = None,
        num_beams: int | None = None,
        seed: int | None = None,
        num_logits_to_keep: int | None = None,
        tokenizer: object = None,
        **inputs: Tensor | None,
    ) -> Tensor:
        """Answer all rows side by side, each as if it were alone.

        generation_config   by default the checkpoint's; a keyword given beside it wins
        seed                row r draws with seed + r; None takes seeds from torch, as torch.manual_seed set it
        num_logits_to_keep  without effect: logits are computed only where a token is chosen
        tokenizer           without effect: stop strings are found with the model's own
        inputs              the tensors of `Inputs` on any device, None or empty where there are none; nothing else is
                            known of the prompts, so tensors that contradict each other are refused
        returns             (B, S + longest answer) int64 on the device of input_ids: the prompts as given, then the
                            answers with the token that ended them, then pad_token_id
        raises              InputError, ConfigError; EngineError for a fault of the model
        """
        _refuse("generate", inputs, [*NAMES, *inspect.signature(self.generate).parameters])
        stated = {
            "max_new_tokens": max_new_tokens, "do_sample": do_sample, "temperature": temperature, "top_k": top_k,
            "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty, "stop_strings": stop_strings,
            "num_beams": num_beams,
        }  # fmt: skip
        chosen = self._chosen(generation_config, {name: value for name, value in stated.items() if value is not None})
        arrays = {name: _array(name, tensor) for name, tensor in inputs.items() if tensor is not None}
        arrays = {name: array for name, array in arrays.items() if array.size or name == "input_ids"}
        ids = inputs.get("input_ids")
        if ids is None:
            raise InputError("input_ids is missing; pass what a processor made, as in generate(**inputs)")
        prompts = from_arrays(arrays, self._model.processor, vocab_size=self.config.text.vocab_size)
        answers = self._answers(prompts, chosen, seed)
        pad = self._model.processor.tokenizer.id(Special.ENDOFTEXT)
        pad = pad if chosen.pad_token_id is None else chosen.pad_token_id
        padded = torch.full((len(answers), max(map(len, answers))), pad, dtype=torch.int64)
        for row, answer in zip(padded, answers, strict=True):
            row[: len(answer)] = torch.tensor(answer)
        return torch.cat([ids.long(), padded.to(ids.device)], dim=1)

    def _chosen(self, config: GenerationConfig | None, stated: dict[str, Any]) -> GenerationConfig:
        base = self.generation_config if config is None else config
        if not isinstance(base, GenerationConfig):
            raise ConfigError(f"generation_config is a {type(base).__name__}; expected phi4mm.compat.GenerationConfig")
        own = self.generation_config.eos_ids
        if base.eos_ids and set(base.eos_ids) != set(own):
            raise ConfigError(
                f"eos_token_id is {base.eos_token_id!r}; this model's answers end at {own}, so leave it out"
            )
        return replace(base, **stated)

    def _answers(self, prompts: Sequence[Prompt], config: GenerationConfig, seed: int | None) -> list[tuple[int, ...]]:
        """Ids of each row's answer. A fault of one ends all."""
        if config.do_sample and seed is None:
            seed = int(torch.randint(2**62, ()))
        streams: list[Stream] = []
        try:
            for row, prompt in enumerate(prompts):
                params = config.sampling(seed)
                streams.append(self._model.submit(prompt, params if seed is None else replace(params, seed=seed + row)))
            return [stream.finish().ids for stream in streams]
        finally:
            for stream in streams:
                stream.close()


def _turn(message: Mapping[str, str], number: int) -> str:
    role, content, tools = message.get("role"), message.get("content"), message.get("tools")
    if role not in ROLES or not isinstance(content, str) or not isinstance(tools, (str, type(None))):
        raise InputError(
            f"message {number} has role {role!r} and content of type {type(content).__name__}; expected one of "
            f"{', '.join(ROLES)} and text, media as marks such as <|image_1|>"
        )
    if tools is not None and role != "system":
        raise InputError(f"message {number} is a {role} message with tools; only the system message declares them")
    declared = "" if tools is None else f"{Special.TOOL.value}{tools}{Special.TOOL_END.value}"
    return f"<|{role}|>{content}{declared}{Special.END.value}"


def _listed(media: object, *kinds: type) -> list[Any]:
    return [] if media is None else list(media) if isinstance(media, kinds) else [media]  # type: ignore[call-overload]


def _resolved(device: object) -> str:
    """A device that is there, as phi4mm names it. Raises ConfigError."""
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise ConfigError(f"device is {device!r}; expected 'cpu', 'cuda', 'cuda:1' or 'auto'")
    return resolve(EngineConfig(f"cuda:{device}" if isinstance(device, int) else str(device))).device


def _array(name: str, tensor: object) -> npt.NDArray[Any]:
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} is a {type(tensor).__name__}; expected a tensor, as the processor makes it")
    here = tensor.detach().cpu()
    return (here.float() if here.is_floating_point() else here).numpy()


def _refuse(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first of `names` that is not known."""
    allowed = sorted(set(known) - {"unknown", "inputs"})
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(allowed)}"
            raise ConfigError(f"{where}: unknown keyword {name}; {hint}")

"""A loaded model with the `generate` method of the published implementation.

Everything runs through `phi4mm.inference`. `generate` needs nothing but the tensors of a processor, so a script may
read them, move them or build them itself. A published keyword that has no meaning here is refused, or the docstring
says that it has no effect.

B prompts, S tokens of the longest; for the media see phi4mm.compat.arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from phi4mm.checkpoint.hub import resolve
from phi4mm.checkpoint.save import convert
from phi4mm.compat.arrays import NAMES, from_arrays
from phi4mm.compat.device import Device, resolved_device
from phi4mm.compat.forward import Logits, forward
from phi4mm.compat.generation import answers_in_step, running
from phi4mm.compat.generation_config import OPTIONS, GenerationConfig
from phi4mm.compat.keywords import FORWARD, GENERATE, MODEL, SAVE
from phi4mm.compat.stopping import Criterion, as_criteria
from phi4mm.compat.streamers import Streamer, TextIteratorStreamer
from phi4mm.compat.values import check_value, check_values, dense
from phi4mm.config.engine import EngineConfig
from phi4mm.config.model import ADAPTER_FOLDERS, Phi4MMConfig
from phi4mm.config.validate import SHOWN, refuse_unknown, shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.load import load_model
from phi4mm.inference.model import Model
from phi4mm.inference.resolve import dtype_name
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.request import AUTO

GENERATE_WORKS = ("inputs", "generation_config", "streamer", "stopping_criteria", "seed")


class AutoModelForCausalLM:
    """A loaded model with the published `generate`. Its weights have no gradients."""

    def __init__(self, model: Model, generation_config: GenerationConfig, folder: Path) -> None:
        """`folder` is that of the checkpoint."""
        self._model, self._folder = model, folder
        self.generation_config = generation_config
        self._adapter: str | None = AUTO

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        device_map: Device | None = None,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **others: object,
    ) -> AutoModelForCausalLM:
        """Load "nano", a folder or a hub id.

        device_map        "cpu", "cuda", "cuda:1", {"": device}, or "auto" (CUDA if available); None is the CPU. Always
                          one device
        dtype             "float32", "bfloat16", "float16" or a torch.dtype; "auto" and None as in `phi4mm.load`;
                          torch_dtype is the same
        revision          branch, tag or commit of a hub id
        local_files_only  download nothing
        raises            ConfigError, CheckpointError; ConfigError for keywords that phi4mm.compat.keywords refuses
        """
        MODEL.check(others, ("device_map", "dtype", "torch_dtype", "revision", "local_files_only"))
        check_values(revision=revision, local_files_only=local_files_only)
        stated = {dtype_name(name) for name in (dtype, torch_dtype) if name is not None}
        if len(stated) > 1:
            both = " and ".join(f"{name:.{SHOWN}}" for name in sorted(stated))
            raise ConfigError(f"dtype and torch_dtype are {both}; they are one, so give dtype")
        device = resolved_device("cpu" if device_map is None else device_map)
        folder = resolve(pretrained_model_name_or_path, revision=revision, local_files_only=local_files_only)
        config = EngineConfig(device, next(iter(stated), "auto"))
        loaded = load_model(folder, config, kind=Model)
        has_file = (folder / "generation_config.json").is_file()
        generation = GenerationConfig.from_pretrained(folder) if has_file else GenerationConfig()
        if generation.eos_token_id is None:
            generation.eos_token_id = loaded.config.eos_token_ids
        return cls(loaded, generation, folder)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return torch.device(self._model.settings.device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights and activations."""
        dtype: torch.dtype = getattr(torch, self._model.settings.dtype)
        return dtype

    @property
    def config(self) -> Phi4MMConfig:
        """The configuration of the model."""
        return self._model.config

    def to(self, device: Device | torch.dtype | None = None, dtype: torch.dtype | None = None) -> AutoModelForCausalLM:
        """Move the weights in place and return self. Raises ConfigError: no such device, or another dtype."""
        device, dtype = (None, device) if isinstance(device, torch.dtype) else (device, dtype)
        if dtype is not None and (name := dtype_name(dtype)) != self._model.settings.dtype:
            raise ConfigError(
                f"the model is in {self.dtype}, not {dtype!s:.{SHOWN}}; give from_pretrained dtype={shown(name)}"
            )
        if device is not None:
            self._model.move(resolved_device(device))
        return self

    def cuda(self, index: int | None = None) -> AutoModelForCausalLM:
        """Move to a CUDA device. Raises ConfigError where there is none."""
        return self.to("cuda" if index is None else index)

    def cpu(self) -> AutoModelForCausalLM:
        """Move to the CPU."""
        return self.to("cpu")

    def load_adapter(
        self,
        peft_model_id: str | os.PathLike[str],
        adapter_name: str = "default",
        *,
        device_map: Device | None = None,
        adapter_kwargs: Mapping[str, object] | None = None,
    ) -> None:
        """Load a LoRA from a PEFT folder and use it from now on.

        adapter_name    `speech` and `vision` belong to the checkpoint: they are not read again, only selected
        device_map      no effect: an adapter is on the device of its model
        adapter_kwargs  only {"subfolder": ...}, a folder inside `peft_model_id`
        raises          ConfigError, CheckpointError
        """
        check_value("peft_model_id", peft_model_id)
        check_value("adapter_name", adapter_name)
        check_values(adapter_kwargs=adapter_kwargs)
        kwargs: Mapping[str, Any] = adapter_kwargs or {}
        refuse_unknown("adapter_kwargs", kwargs, {"subfolder"})
        check_values(**kwargs)
        folder = Path(peft_model_id, kwargs.get("subfolder") or "")
        if adapter_name not in ADAPTER_FOLDERS or adapter_name not in self._model.adapters:
            self._model.add_adapter(adapter_name, folder)
        self._adapter = adapter_name

    def set_adapter(self, adapter_name: str) -> None:
        """Use this adapter for all prompts; "auto" goes back to the published rule. Raises ConfigError."""
        check_value("adapter_name", adapter_name)
        known = (AUTO, *self._model.adapters)
        if adapter_name not in known:
            raise ConfigError(f"adapter {shown(adapter_name)} is not loaded; expected one of {', '.join(known)}")
        self._adapter = adapter_name

    def disable_adapters(self) -> None:
        """Use no adapter."""
        self._adapter = None

    def enable_adapters(self) -> None:
        """Choose adapters by the published rule again."""
        self._adapter = AUTO

    def delete_adapter(self, adapter_name: str) -> None:
        """Remove an adapter; if it was selected, the published rule holds again. Raises ConfigError, CapacityError."""
        check_value("adapter_name", adapter_name)
        self._model.remove_adapter(adapter_name)
        if self._adapter == adapter_name:
            self._adapter = AUTO

    def eval(self) -> AutoModelForCausalLM:
        """Return self; the model is always in evaluation mode."""
        return self

    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        streamer: Streamer | None = None,
        stopping_criteria: Criterion | Sequence[Criterion] | None = None,
        seed: int | None = None,
        **keywords: Any,
    ) -> Tensor:
        """Generate an answer for each prompt of a batch; each answer is as if its prompt were alone.

        inputs             input_ids, if they are not given by that name
        generation_config  by default the checkpoint's; options of it that are given as keywords take precedence
        streamer           gets the prompts, then one token of each answer at a time
        stopping_criteria  a callable that ends answers, or a list of them, asked after each token
        seed               prompt i of the batch (from 0) uses seed + i; None draws a seed from torch's generator
        keywords           the tensors of `Inputs`, on any device; None or empty ones count as missing, and tensors that
                           contradict each other are refused. Options of GenerationConfig. Others have no effect or
                           are refused: phi4mm.compat.keywords
        returns            (B, S + longest answer) int64 on the device of input_ids: the prompts as given, then the
                           answers with their end token, then pad_token_id
        raises             InputError, ConfigError; EngineError for a fault of phi4mm itself
        """
        try:
            if inputs is not None:
                if keywords.get("input_ids") is not None:
                    raise InputError("inputs and input_ids were both given; they are one, so give input_ids")
                keywords["input_ids"] = inputs
            return self._generate(generation_config, streamer, stopping_criteria, seed, keywords)
        except BaseException as error:
            if isinstance(streamer, TextIteratorStreamer):
                streamer.fail(error)
            raise

    def _generate(
        self,
        config: GenerationConfig | None,
        streamer: Streamer | None,
        criteria: Criterion | Sequence[Criterion] | None,
        seed: int | None,
        keywords: dict[str, Any],
    ) -> Tensor:
        tensors = {name: keywords.pop(name) for name in NAMES if name in keywords}
        options = {name: keywords.pop(name) for name in OPTIONS if name in keywords}
        GENERATE.check(keywords, (*NAMES, *OPTIONS, *GENERATE_WORKS))
        check_values(streamer=streamer, stopping_criteria=criteria, seed=seed)
        config = self._merged(config, options)
        ids, prompts = self._prompts(tensors)
        pad = self._model.processor.tokenizer.id(Special.ENDOFTEXT)
        pad = pad if config.pad_token_id is None else config.pad_token_id
        seed = None if seed is None else int(seed)
        with running(self._model, prompts, config, seed, length=ids.shape[1], adapter=self._adapter) as streams:
            answers = answers_in_step(streams, ids.long().cpu(), pad, streamer, as_criteria(criteria))
        return answers.to(ids.device)

    def __call__(
        self,
        input_ids: Tensor | None = None,
        *,
        num_logits_to_keep: int | None = None,
        logits_to_keep: int | None = None,
        **keywords: Any,
    ) -> Logits:
        """The logits of the prompts' own tokens, without gradients.

        input_ids           and the other tensors of `Inputs`, as in `generate`
        num_logits_to_keep  how many of the last tokens; 0 and None: all. logits_to_keep is the same
        returns             .logits (B, S or the kept, V) in the model's dtype; zeros where a prompt is padded
        raises              InputError, also for more than 4 GiB of logits; ConfigError
        """
        tensors = {"input_ids": input_ids} | {name: keywords.pop(name) for name in NAMES if name in keywords}
        FORWARD.check(keywords, (*NAMES, "num_logits_to_keep", "logits_to_keep"))
        check_values(num_logits_to_keep=num_logits_to_keep, logits_to_keep=logits_to_keep)
        ids, prompts = self._prompts(tensors)
        keep = num_logits_to_keep or logits_to_keep
        return forward(self._model, prompts, length=ids.shape[1], keep=keep, adapter=self._adapter)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **others: object) -> None:
        """Write the checkpoint in the model's dtype, with its tokenizer and processing files, into a new folder.

        raises  ConfigError for a folder that is not empty, and where adapters were added, which have their own folders;
                CheckpointError
        """
        SAVE.check(others, ("save_directory",))
        check_value("save_directory", save_directory)
        if added := [name for name in self._model.adapters if name not in ADAPTER_FOLDERS]:
            raise ConfigError(
                f"the model has the adapters {', '.join(added)}, which are in folders of their own; "
                "call delete_adapter first, and load them again beside the saved model"
            )
        convert(self._folder, Path(save_directory), form=self.config.layout, dtype=self.dtype)

    def _prompts(self, tensors: Mapping[str, Tensor | None]) -> tuple[Tensor, list[Prompt]]:
        """input_ids as given, and the prompts that the tensors hold. Raises InputError."""
        ids = tensors.get("input_ids")
        if ids is None:
            raise InputError("input_ids is missing; pass the result of a processor, as in generate(**inputs)")
        arrays = {name: _array(name, tensor) for name, tensor in tensors.items() if tensor is not None}
        arrays = {name: array for name, array in arrays.items() if array.size or name == "input_ids"}
        return ids, from_arrays(arrays, self._model.processor, vocab_size=self.config.text.vocab_size)

    def _merged(self, config: GenerationConfig | None, options: dict[str, Any]) -> GenerationConfig:
        """The config of one call, in which keywords take precedence. Raises ConfigError."""
        base = self.generation_config if config is None else config
        if not isinstance(base, GenerationConfig):
            raise ConfigError(f"generation_config is a {type(base).__name__}; expected phi4mm.compat.GenerationConfig")
        merged = base.updated(options)
        if merged.eos_token_id is None:
            merged.eos_token_id = self.generation_config.eos_token_id
        return merged


def _array(name: str, tensor: object) -> npt.NDArray[Any]:
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} is a {type(tensor).__name__}; expected a tensor, as the processor returns it")
    on_cpu = dense(name, tensor)
    return (on_cpu.float() if on_cpu.is_floating_point() else on_cpu).numpy()

"""A loaded model with the `generate` method of the published implementation.

Everything runs through `phi4mm.inference`. `generate` needs nothing but the tensors of a processor, so a script may
read them, move them or build them itself. A published keyword that has no meaning here is refused, or the docstring
says that it has no effect.

B prompts, S tokens of the longest; for the media see phi4mm.compat.arrays.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from phi4mm.checkpoint.hub import resolve
from phi4mm.compat.arrays import NAMES, from_arrays
from phi4mm.compat.device import Device, resolved_device
from phi4mm.compat.generation_config import GenerationConfig
from phi4mm.config.engine import EngineConfig
from phi4mm.config.model import ADAPTER_FOLDERS, Phi4MMConfig
from phi4mm.config.validate import refuse_unknown
from phi4mm.errors import ConfigError, InputError
from phi4mm.inference.load import load_model
from phi4mm.inference.model import Model
from phi4mm.inference.stream import Stream
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.request import AUTO

ATTENTION = (None, "eager", "sdpa", "flash_attention_2")


class AutoModelForCausalLM:
    """A loaded model with the published `generate`. Its weights have no gradients."""

    def __init__(self, model: Model, generation_config: GenerationConfig) -> None:
        self._model = model
        self.generation_config = generation_config
        self._adapter: str | None = AUTO

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

        device_map           "cpu", "cuda", "cuda:1", or "auto" (CUDA if available); None is the CPU. Always one device
        torch_dtype          "float32", "bfloat16", "float16" or a torch.dtype; "auto" and None as in `phi4mm.load`
        trust_remote_code    no effect: code of a checkpoint is never run
        attn_implementation  no effect: "eager", "sdpa" and "flash_attention_2" are accepted, attention is PyTorch's
        revision             branch, tag or commit of a hub id
        raises               ConfigError, CheckpointError
        """
        known = inspect.signature(cls.from_pretrained).parameters.keys() - {"unknown"}
        refuse_unknown("AutoModelForCausalLM.from_pretrained", unknown, known)
        for name in (attn_implementation, _attn_implementation):
            if name not in ATTENTION:
                raise ConfigError(
                    f"attn_implementation is {name!r}; expected one of {', '.join(filter(None, ATTENTION))}"
                )
        device = resolved_device("cpu" if device_map is None else device_map)
        folder = resolve(model, revision=revision)
        config = EngineConfig(device, str(torch_dtype or "auto").removeprefix("torch."))
        loaded = load_model(folder, config, kind=Model)
        stated = (folder / "generation_config.json").is_file()
        generation = GenerationConfig.from_pretrained(folder) if stated else GenerationConfig()
        return cls(loaded, replace(generation, eos_token_id=generation.eos_ids or loaded.config.eos_token_ids))

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

    def to(self, device: Device) -> AutoModelForCausalLM:
        """Move the weights in place, in their dtype, and return self. Raises ConfigError: no such device."""
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
        kwargs = dict(adapter_kwargs or {})
        folder = Path(peft_model_id, str(kwargs.pop("subfolder", "")))
        refuse_unknown("adapter_kwargs", kwargs, {"subfolder"})
        if adapter_name not in ADAPTER_FOLDERS or adapter_name not in self._model.adapters:
            self._model.add_adapter(adapter_name, folder)
        self._adapter = adapter_name

    def set_adapter(self, adapter_name: str) -> None:
        """Use this adapter for all prompts; "auto" goes back to the published rule. Raises ConfigError."""
        known = (AUTO, *self._model.adapters)
        if adapter_name not in known:
            raise ConfigError(f"adapter {adapter_name!r} is not loaded; expected one of {', '.join(known)}")
        self._adapter = adapter_name

    def disable_adapters(self) -> None:
        """Use no adapter."""
        self._adapter = None

    def enable_adapters(self) -> None:
        """Choose adapters by the published rule again."""
        self._adapter = AUTO

    def delete_adapter(self, adapter_name: str) -> None:
        """Remove an adapter; if it was selected, the published rule holds again. Raises ConfigError, CapacityError."""
        self._model.remove_adapter(adapter_name)
        if self._adapter == adapter_name:
            self._adapter = AUTO

    def eval(self) -> AutoModelForCausalLM:
        """Return self; the model is always in evaluation mode."""
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
        """Generate an answer for each prompt of a batch; each answer is as if its prompt were alone.

        generation_config   by default the checkpoint's; keywords of this call take precedence
        seed                prompt i of the batch (from 0) uses seed + i; None draws a seed from torch's generator
        num_logits_to_keep  no effect: logits are computed only where a token is chosen
        tokenizer           no effect: stop strings are found with the model's own tokenizer
        inputs              the tensors of `Inputs`, on any device; None or empty ones count as missing, and tensors
                            that contradict each other are refused
        returns             (B, S + longest answer) int64 on the device of input_ids: the prompts as given, then the
                            answers with their end token, then pad_token_id
        raises              InputError, ConfigError; EngineError for a fault of phi4mm itself
        """
        refuse_unknown("generate", inputs, {*NAMES, *inspect.signature(self.generate).parameters} - {"inputs"})
        keywords = {
            "max_new_tokens": max_new_tokens, "do_sample": do_sample, "temperature": temperature, "top_k": top_k,
            "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty, "stop_strings": stop_strings,
            "num_beams": num_beams,
        }  # fmt: skip
        config = self._merged(generation_config, {name: value for name, value in keywords.items() if value is not None})
        arrays = {name: _array(name, tensor) for name, tensor in inputs.items() if tensor is not None}
        arrays = {name: array for name, array in arrays.items() if array.size or name == "input_ids"}
        ids = inputs.get("input_ids")
        if ids is None:
            raise InputError("input_ids is missing; pass the result of a processor, as in generate(**inputs)")
        prompts = from_arrays(arrays, self._model.processor, vocab_size=self.config.text.vocab_size)
        answers = self._answers(prompts, config, seed)
        pad = self._model.processor.tokenizer.id(Special.ENDOFTEXT)
        pad = pad if config.pad_token_id is None else config.pad_token_id
        padded = torch.full((len(answers), max(map(len, answers))), pad, dtype=torch.int64)
        for row, answer in zip(padded, answers, strict=True):
            row[: len(answer)] = torch.tensor(answer)
        return torch.cat([ids.long(), padded.to(ids.device)], dim=1)

    def _merged(self, config: GenerationConfig | None, keywords: dict[str, Any]) -> GenerationConfig:
        """The config of one call, in which keywords take precedence. Raises ConfigError."""
        base = self.generation_config if config is None else config
        if not isinstance(base, GenerationConfig):
            raise ConfigError(f"generation_config is a {type(base).__name__}; expected phi4mm.compat.GenerationConfig")
        own = self.generation_config.eos_ids
        if base.eos_ids and set(base.eos_ids) != set(own):
            raise ConfigError(
                f"eos_token_id is {base.eos_token_id!r}; expected {own}, the end tokens of this model, so leave it out"
            )
        return replace(base, **keywords)

    def _answers(self, prompts: Sequence[Prompt], config: GenerationConfig, seed: int | None) -> list[tuple[int, ...]]:
        """The token ids of each answer. If one request fails, all others of the batch are ended too."""
        if config.do_sample and seed is None:
            seed = int(torch.randint(2**62, ()))
        streams: list[Stream] = []
        try:
            for i, prompt in enumerate(prompts):
                params = config.sampling(None if seed is None else seed + i)
                streams.append(self._model.submit(prompt, params, adapter=self._adapter))
            return [stream.finish().ids for stream in streams]
        finally:
            for stream in streams:
                stream.close()


def _array(name: str, tensor: object) -> npt.NDArray[Any]:
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} is a {type(tensor).__name__}; expected a tensor, as the processor returns it")
    on_cpu = tensor.detach().cpu()
    return (on_cpu.float() if on_cpu.is_floating_point() else on_cpu).numpy()

"""Generation options by their names in transformers, set by a script or read from generation_config.json."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from phi4mm.checkpoint.hub import resolve
from phi4mm.compat.keywords import GENERATE
from phi4mm.compat.values import VALUES, check_value, check_values
from phi4mm.config.json_file import read_json
from phi4mm.config.validate import shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.protocol.sampling import SamplingParams

DEFAULT_LENGTH = 1000  # tokens of an answer; transformers stops after 20 tokens of prompt and answer


class GenerationConfig:
    """Generation options with the names and defaults of transformers, except for the default length.

    max_new_tokens  most tokens of an answer; None: max_length, or 1000
    max_length      most tokens of prompt and answer; counts only where max_new_tokens is None
    do_sample       False takes the most likely token and ignores temperature, top_k, top_p and min_p
    stop_strings    each of them ends the answer and is part of it
    eos_token_id    the ids that end an answer; None: those of the checkpoint
    pad_token_id    fills up shorter answers; None uses the tokenizer's
    others          the keywords of `generate` that have no effect, or ask for nothing

    None for temperature, top_k, top_p, min_p or repetition_penalty turns it off.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    do_sample: bool | None = False
    temperature: float | None = 1.0
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = 0.0
    repetition_penalty: float | None = 1.0
    stop_strings: str | Sequence[str] | None = ()
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None

    def __init__(self, **options: Any) -> None:
        """Raises ConfigError, InputError for impossible values."""
        for name, value in options.items():
            setattr(self, name, value)
        self.sampling(None, prompt_tokens=0)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in OPTIONS:
            GENERATE.check({name: value}, OPTIONS)
        if isinstance(value, np.generic):
            value = value.item()
        if name in VALUES:
            check_values(**{name: value})
        super().__setattr__(name, value)

    def updated(self, options: dict[str, Any]) -> GenerationConfig:
        """A checked copy with other values."""
        return GenerationConfig(**{**vars(self), **options})

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str = "generation_config.json",
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> GenerationConfig:
        """Read it of "nano", a folder or a hub id. Raises ConfigError."""
        check_value("config_file_name", config_file_name)
        check_values(revision=revision, local_files_only=local_files_only)
        if os.path.basename(config_file_name) != config_file_name:
            raise ConfigError(f"config_file_name is {shown(config_file_name)}; expected a file name without a folder")
        path = resolve(pretrained_model_name, revision=revision, local_files_only=local_files_only) / config_file_name
        stated = read_json(path)
        try:
            return cls(**{name: value for name, value in stated.items() if value is not None})
        except (ConfigError, InputError) as error:
            raise ConfigError(f"{path}: {error}") from error

    @property
    def eos_ids(self) -> tuple[int, ...] | None:
        """eos_token_id as a tuple; None where it is None."""
        stated = self.eos_token_id
        return (stated,) if isinstance(stated, int) else None if stated is None else tuple(stated)

    def sampling(self, seed: int | None, *, prompt_tokens: int) -> SamplingParams:
        """These options as SamplingParams, for a prompt of so many tokens, padding included. Raises InputError."""
        length = self.max_new_tokens
        if length is None and self.max_length is not None:
            length = self.max_length - prompt_tokens
            if length < 1:
                raise InputError(
                    f"the prompt has {prompt_tokens} tokens and max_length is {self.max_length}, which counts prompt "
                    "and answer; raise it, or give max_new_tokens"
                )
        stop = self.stop_strings or ()
        return SamplingParams(
            temperature=_on(self.temperature, 1.0) if self.do_sample else 0.0,
            top_k=_on(self.top_k, 0),
            top_p=_on(self.top_p, 1.0),
            min_p=_on(self.min_p, 0.0),
            repetition_penalty=_on(self.repetition_penalty, 1.0),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=seed,
            max_tokens=DEFAULT_LENGTH if length is None else length,
        )


def _on(value: Any, off: Any) -> Any:
    return off if value is None else value


OPTIONS = tuple(GenerationConfig.__annotations__)

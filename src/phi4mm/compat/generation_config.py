"""Generation options by their names in transformers, set by a script or read from generation_config.json."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields

from phi4mm.checkpoint.hub import resolve
from phi4mm.config.json_file import read_json
from phi4mm.config.validate import integer, is_integer, refuse_unknown, shown
from phi4mm.errors import ConfigError, InputError
from phi4mm.protocol.sampling import SamplingParams

# Keys of generation_config.json that do not change the answer.
WITHOUT_EFFECT = ("_from_model_config", "transformers_version", "use_cache")


@dataclass(frozen=True)
class GenerationConfig:
    """Generation options with the names and defaults of transformers, except for the default length.

    max_new_tokens  most tokens of an answer (transformers stops by default after 20 tokens of prompt and answer)
    do_sample       False takes the most likely token and ignores temperature, top_k, top_p and min_p
    stop_strings    each of them ends the answer and is part of it
    num_beams       must be 1: there is no beam search
    eos_token_id    must be the model's own ids; None uses them
    pad_token_id    fills up shorter answers; None uses the tokenizer's
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
        integer("max_new_tokens", self.max_new_tokens, 1, 2**31, error=ConfigError)
        if not isinstance(self.do_sample, bool):
            raise ConfigError(f"do_sample is {shown(self.do_sample)}; expected True or False")
        if self.num_beams != 1:
            raise ConfigError(f"num_beams is {shown(self.num_beams)}; answers are decoded with 1 beam, so leave it out")
        if not all(is_integer(id) and id >= 0 for id in (*self.eos_ids, self.pad_token_id or 0)):
            raise ConfigError(
                f"eos_token_id is {shown(self.eos_token_id)} and pad_token_id {shown(self.pad_token_id)}; "
                "expected token ids"
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
        """Read it from the folder of `model`: "nano", a folder or a hub id. Raises ConfigError."""
        if os.path.basename(config_file_name) != config_file_name:
            raise ConfigError(f"config_file_name is {config_file_name!r}; expected a file name without a folder")
        path = resolve(model, revision=revision) / config_file_name
        stated = {name: value for name, value in read_json(path).items() if name not in WITHOUT_EFFECT}
        refuse_unknown(str(path), stated, [field.name for field in fields(cls)])
        try:
            return cls(**{name: value for name, value in stated.items() if value is not None})
        except (ConfigError, InputError) as error:
            raise ConfigError(f"{path}: {error}") from error

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """eos_token_id as a tuple, which is empty for None."""
        stated = self.eos_token_id
        return () if stated is None else (stated,) if isinstance(stated, int) else tuple(stated)

    def sampling(self, seed: int | None) -> SamplingParams:
        """These options as SamplingParams. Raises InputError."""
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

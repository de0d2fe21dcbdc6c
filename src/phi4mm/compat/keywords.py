"""Keywords of transformers beyond a call's own parameters: those without effect here, and those that are refused.

docs/guide/compat.md shows the same tables, and a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from phi4mm.config.validate import refuse_unknown, shown
from phi4mm.errors import ConfigError

WithoutEffect: TypeAlias = "Mapping[tuple[str, ...], str]"
# Names that share a reason -> (the values besides None that ask for nothing, which are taken; what to do instead).
Refused: TypeAlias = "Mapping[tuple[str, ...], tuple[tuple[object, ...], str]]"

_SECRET = re.compile("token(?!iz)|password|key|secret")


@dataclass(frozen=True)
class Keywords:
    """What one call takes without effect (names -> why), and what it refuses."""

    call: str
    without_effect: WithoutEffect = field(default_factory=dict)
    refused: Refused = field(default_factory=dict)

    def check(self, given: Mapping[str, object], works: Iterable[str] = ()) -> None:
        """Raise ConfigError for keywords that are unknown, or that ask for what is refused.

        None and empty lists ask for nothing. The value of a keyword that may be a secret by its name is not quoted.
        """
        named = [name for names in (*self.without_effect, *self.refused) for name in names]
        refuse_unknown(self.call, given, {*works, *named})
        for names, (neutral, instead) in self.refused.items():
            for name in names:
                value = given.get(name)
                if not _asks_nothing(value, neutral):
                    found = "" if _SECRET.search(name) else f"={shown(value)}"
                    raise ConfigError(f"{self.call}: {name}{found} is not supported; {instead}")


def _asks_nothing(value: object, neutral: Sequence[object]) -> bool:
    if isinstance(value, (list, tuple, dict)):
        return not value
    return value is None or (isinstance(value, (bool, int, float, str)) and value in neutral)


_CLASSES = "use the classes of phi4mm.compat; `model.config` has the sizes"
_NAMES = {
    "BitsAndBytesConfig": "quantize a folder by `phi4mm quantize`",
    **dict.fromkeys(("pipeline", "Trainer", "AutoConfig", "AutoModel", "Phi4MultimodalForCausalLM"), _CLASSES),
}


def refuse_name(name: str) -> NoReturn:
    """Raise AttributeError for a name that phi4mm.compat has not; one of transformers is told what to do instead."""
    advice = _NAMES.get(name, "docs/guide/compat.md lists those that it has")
    raise AttributeError(f"phi4mm.compat has no {name:.60}; {advice}")


_CODE: WithoutEffect = {("trust_remote_code",): "no code of a checkpoint is ever run"}
_HUB: Refused = {
    ("cache_dir",): ((), "set HF_HUB_CACHE to the folder of the cache"),
    ("force_download",): ((False,), "delete the model from the cache to download it again"),
    ("subfolder",): (("",), "give the folder itself"),
    ("token", "use_auth_token"): ((True,), "set HF_TOKEN"),
}

MODEL = Keywords(
    "AutoModelForCausalLM.from_pretrained",
    {
        **_CODE,
        ("attn_implementation", "_attn_implementation", "use_flash_attention_2"): "attention is PyTorch's own",
        ("low_cpu_mem_usage", "resume_download"): "always so",
        ("use_cache",): "keys and values are always cached",
    },
    {
        **_HUB,
        ("config", "ignore_mismatched_sizes", "state_dict"): (
            (False,),
            "config.json and all weights are read as they are",
        ),
        ("load_in_4bit", "load_in_8bit", "quantization_config"): (
            (False,),
            "quantize a folder by `phi4mm quantize MODEL OUT --bits 4` and load that",
        ),
        ("max_memory", "offload_folder"): ((), "the model is on one device; quantize it if it does not fit"),
        ("use_safetensors",): ((True,), "pickled weights are never read; convert them to safetensors"),
        ("variant",): ((), "give the folder that holds model*.safetensors of this variant"),
    },
)
PROCESSOR = Keywords(
    "AutoProcessor.from_pretrained",
    {**_CODE, ("use_fast", "low_cpu_mem_usage", "torch_dtype", "dtype", "device_map"): "processing knows one way"},
    {**_HUB, ("num_crops",): ((), "Phi-4-multimodal's name for the most crops of an image is dynamic_hd")},
)
TOKENIZER = Keywords(
    "AutoTokenizer.from_pretrained",
    {**_CODE, ("use_fast",): "there is one tokenizer"},
    {**_HUB, ("add_bos_token", "add_eos_token", "add_prefix_space"): ((False,), "write the tokens into the text")},
)
PROCESS = Keywords(
    "processor()",
    {
        ("padding", "padding_side"): "prompts are padded on the left to the longest, as published",
        ("add_special_tokens",): "the published format has all its special tokens in the text",
    },
    {
        ("max_length", "truncation"): ((False,), "a cut prompt loses media; shorten the text"),
        ("num_crops", "dynamic_hd"): ((), "give dynamic_hd to AutoProcessor.from_pretrained"),
        ("sampling_rate",): ((), "give each clip with its rate, as audios=[(samples, rate)]"),
        ("videos",): ((), "give frames as images"),
    },
)
TOKENIZE = Keywords(
    "tokenizer()",
    {
        ("add_special_tokens",): "the published tokenizer puts none around a text",
        ("return_attention_mask",): "the mask is always returned",
        ("verbose",): "nothing is printed",
    },
    {
        ("max_length", "stride", "truncation"): ((False,), "shorten the text"),
        ("pad_to_multiple_of", "return_offsets_mapping", "return_token_type_ids"): ((False,), "leave it out"),
        ("text_pair", "is_split_into_words"): ((False,), "join the texts"),
    },
)
TEMPLATE = Keywords(
    "apply_chat_template",
    {},
    {
        ("chat_template",): ((), "only the published template is known; render others yourself and pass the text"),
        ("continue_final_message",): ((False,), "append the beginning of the answer to the text yourself"),
        ("documents",): ((), "write the documents into a message"),
        ("tools",): (
            (),
            'the published template reads no tools here; put their JSON into "tools" of the system message',
        ),
        ("truncation", "max_length"): ((False,), "shorten the conversation"),
    },
)
DECODE = Keywords(
    "decode",
    {},
    {("clean_up_tokenization_spaces",): ((False,), "expected False, as the text of an answer is never changed")},
)
GENERATE = Keywords(
    "generate",
    {
        ("num_logits_to_keep", "logits_to_keep"): "logits are computed only where a token is chosen",
        ("use_cache", "synced_gpus", "cache_implementation"): "keys and values are always cached",
        ("tokenizer",): "stop strings are found with the model's own tokenizer",
        ("early_stopping", "length_penalty"): "as in transformers without beams",
        ("bos_token_id",): "the answer begins after the prompt",
        ("_from_model_config", "transformers_version"): "bookkeeping",
    },
    {
        ("num_beams", "num_beam_groups"): ((1,), "answers are decoded with 1 beam, so leave it out"),
        ("num_return_sequences",): ((1,), "give the prompt as often as you want answers"),
        ("min_length", "min_new_tokens", "exponential_decay_length_penalty"): ((0,), "the model ends its answers"),
        ("bad_words_ids", "force_words_ids", "logits_processor", "prefix_allowed_tokens_fn", "sequence_bias",
         "suppress_tokens", "constraints"): ((), "phi4mm.load has response_format= for what an answer must look like"),
        ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "epsilon_cutoff", "eta_cutoff", "penalty_alpha",
         "diversity_penalty"): ((0,), "sample by temperature, top_k, top_p, min_p and repetition_penalty"),
        ("typical_p", "encoder_repetition_penalty"): ((1,), "sample by temperature, top_p and repetition_penalty"),
        ("assistant_model", "prompt_lookup_num_tokens"): ((), "prompt lookup is always on; leave it out"),
        ("output_attentions", "output_hidden_states", "output_logits", "output_scores", "return_dict_in_generate"): (
            (False,), "generate returns ids; model(**inputs) has logits, phi4mm.load log-probabilities"),
        ("past_key_values", "inputs_embeds", "position_ids", "cache_position"): ((), "give whole prompts as input_ids"),
        ("max_time",): ((), "give a stopping criterion"),
    },
)  # fmt: skip
FORWARD = Keywords(
    "model()",
    {("use_cache", "return_dict"): "the output has logits alone"},
    {
        ("labels",): ((), "compute the loss from the logits; they have no gradients"),
        ("output_attentions", "output_hidden_states"): ((False,), "the output has logits alone"),
        ("past_key_values", "inputs_embeds", "position_ids", "cache_position"): (
            (),
            "give whole prompts as input_ids",
        ),
    },
)
SAVE = Keywords(
    "save_pretrained",
    {("max_shard_size",): "phi4mm chooses the size of the files"},
    {
        ("push_to_hub", "repo_id"): ((False,), "upload the folder with the hub's own tools"),
        ("safe_serialization",): ((True,), "weights are never pickled"),
        ("state_dict", "variant"): ((), "the weights that were loaded are saved"),
    },
)
ALL = (MODEL, PROCESSOR, TOKENIZER, PROCESS, TOKENIZE, TEMPLATE, DECODE, GENERATE, FORWARD, SAVE)

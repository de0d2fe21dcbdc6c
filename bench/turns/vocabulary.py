"""A stand-in for the published tokenizer: same size and special tokens, bytes for text, and unused entries.

Imports only the standard library, because every peer's environment uses it.
"""

from __future__ import annotations

from typing import Any

SIZE = 200064
SPECIAL = {
    199999: "<|endoftext|>", 200010: "<|endoftext10|>", 200011: "<|endoftext11|>", 200018: "<|endofprompt|>",
    200019: "<|assistant|>", 200020: "<|end|>", 200021: "<|user|>", 200022: "<|system|>", 200023: "<|tool|>",
    200024: "<|/tool|>", 200025: "<|tool_call|>", 200026: "<|/tool_call|>", 200027: "<|tool_response|>",
    200028: "<|tag|>",
}  # fmt: skip


def entries() -> list[str]:
    """Every entry by id: the 256 bytes in byte-level spelling, then special tokens and unused entries."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    alphabet = [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
    return [*alphabet, *(SPECIAL.get(id, f"~{id}") for id in range(256, SIZE))]


def tokenizer_json() -> dict[str, Any]:
    """The content of tokenizer.json: byte-level BPE without merges, so that an ASCII letter is one token."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": content, **flags} for id, content in SPECIAL.items()],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {entry: id for id, entry in enumerate(entries())},
            "merges": [],
        },
    }


def tokenizer_config() -> dict[str, str]:
    """The content of tokenizer_config.json, with the published chat format."""
    turn = "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    template = "{% for message in messages %}" + turn + "{% endfor %}{{ '<|assistant|>' }}"
    end = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    return {"tokenizer_class": "GPT2TokenizerFast", "chat_template": template, **end}

"""Writes a GGUF file of Phi-4-mini's sizes with the types of llama.cpp's Q4_0: random blocks, embedding in Q6_K.

python llama_gguf.py OUT.gguf   (about 2.4 GB; needs `gguf` and `numpy`)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from vocabulary import SIZE, SPECIAL, entries

PUBLISHED = Path(__file__).parents[2] / "tests/golden/published.json"
STANDARD_DEVIATION = 0.018  # of weights: 1 / sqrt(3072) keeps activations near one
Array = npt.NDArray[np.uint8]


def main() -> None:
    """Write the file under a temporary name, then rename it, so that an incomplete file is never used."""
    out = Path(sys.argv[1])
    unfinished = out.with_suffix(".half")
    config = json.loads(PUBLISHED.read_text())
    writer = gguf.GGUFWriter(unfinished, "phi3")
    add_architecture(writer, config)
    add_vocabulary(writer)
    tensors = shapes(config)
    for name, (shape, kind) in tensors.items():
        bytes_shape = gguf.quant_shape_to_byte_shape(shape, kind) if kind.name != "F32" else shape
        dtype, size = (np.dtype(np.float32), 4) if kind.name == "F32" else (np.dtype(np.uint8), 1)
        raw = None if kind.name == "F32" else kind
        writer.add_tensor_info(name, bytes_shape, dtype, int(np.prod(bytes_shape)) * size, raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(0)
    factors = {"rope_factors_short.weight": "short_factor", "rope_factors_long.weight": "long_factor"}
    for name, (shape, kind) in tensors.items():
        if name in factors:
            writer.write_tensor_data(np.array(config["rope_scaling"][factors[name]], np.float32))
        elif kind.name == "F32":
            writer.write_tensor_data(np.ones(shape, np.float32))
        else:
            writer.write_tensor_data((q4_0 if kind.name == "Q4_0" else q6_k)(shape, rng))
    writer.close()
    unfinished.rename(out)


def add_architecture(writer: gguf.GGUFWriter, config: dict[str, object]) -> None:
    """Add the sizes of the published configuration."""
    width, heads = int(str(config["hidden_size"])), int(str(config["num_attention_heads"]))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(width // heads * 3 // 4)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_sliding_window(0)


def add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """Add the stand-in vocabulary."""
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o")
    writer.add_token_list(entries())
    writer.add_token_types([control if id in SPECIAL else normal for id in range(SIZE)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(199999)
    writer.add_eos_token_id(199999)


def shapes(config: dict[str, int]) -> dict[str, tuple[tuple[int, ...], gguf.GGMLQuantizationType]]:
    """The shape (rows first) and type of every tensor."""
    q4, q6, f32 = (gguf.GGMLQuantizationType[name] for name in ("Q4_0", "Q6_K", "F32"))
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = width // config["num_attention_heads"]
    pairs = head * 3 // 8
    tensors = {
        "token_embd.weight": ((config["vocab_size"], width), q6),
        "output_norm.weight": ((width,), f32),
        "rope_factors_short.weight": ((pairs,), f32),
        "rope_factors_long.weight": ((pairs,), f32),
    }
    for n in range(config["num_hidden_layers"]):
        tensors |= {
            f"blk.{n}.attn_norm.weight": ((width,), f32),
            f"blk.{n}.attn_qkv.weight": ((width + 2 * head * config["num_key_value_heads"], width), q4),
            f"blk.{n}.attn_output.weight": ((width, width), q4),
            f"blk.{n}.ffn_norm.weight": ((width,), f32),
            f"blk.{n}.ffn_up.weight": ((2 * inner, width), q4),
            f"blk.{n}.ffn_down.weight": ((width, inner), q4),
        }
    return tensors


def q4_0(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Blocks of 32: a half-precision scale, then 16 bytes of two codes each."""
    blocks = rng.integers(0, 256, (shape[0], shape[1] // 32, 18), np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(STANDARD_DEVIATION / 4.6).tobytes(), np.uint8)
    return blocks.reshape(shape[0], -1)


def q6_k(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Blocks of 256: 192 bytes of codes, 16 scales of 8 bits, a half-precision scale of those."""
    blocks = rng.integers(0, 256, (shape[0], shape[1] // 256, 210), np.uint8)
    blocks[..., 192:208] = 32
    blocks[..., 208:] = np.frombuffer(np.float16(STANDARD_DEVIATION / 18.5 / 32).tobytes(), np.uint8)
    return blocks.reshape(shape[0], -1)


if __name__ == "__main__":
    main()

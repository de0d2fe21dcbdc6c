"""Does any damaged file end in something else than a result or a PhiError?

Valid files of every kind that is read (images, audio, weights, configurations, tokenizers, prompts, tools, tool calls,
streamed bytes) are damaged: bits, numbers, slices, JSON values. Half of the PNG, FLAC and Ogg files get right checksums
afterwards, so that the damage reaches the decoder. Each reader must return or raise a PhiError; another exception, a
crash, more than 20 seconds or more than 1.5 GB is a fault. Every case follows from its reader's name and its number.

    python bench/fuzz.py [--cases 10000] [--seed 0] [--reader png ...] [--case NUMBER]

`--case` runs one number here, with its traceback. A line a reader on stderr, one JSON line last; exit status 1 where
something is wrong.
"""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import json
import mmap
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import soundfile
import torch
from measure import provenance
from safetensors.torch import save

sys.path.insert(0, str(Path(__file__).parent.parent))

from phi4mm.checkpoint.shards import read_header
from phi4mm.config.load import load_config
from phi4mm.errors import PhiError
from phi4mm.processing.audio import open_audio
from phi4mm.processing.chat_template import render, resolve_media_tags
from phi4mm.processing.detokenizer import TextStream
from phi4mm.processing.image import open_image
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.processing.tool_calls import as_tool, parse_tool_calls
from phi4mm.protocol.messages import Audio, Image, Message
from tests.processing.audio_files import sound, with_pyav

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
NANO = ROOT / "src" / "phi4mm" / "nano" / "assets"
SECONDS = 20
MOST_GROWTH = 1_500_000  # KiB over what the process took at first: an image may have 89 million pixels
NUMBERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1)
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1, 0.5, 2**63, 10**40, 1e308, float("nan"), "", "\0", "x" * 999, [], {})
CALL = 'functools[{"name": "f", "arguments": {"a": [1, {"b": "\\u00e9"}], "c": null, "d": 1.5e3}}]'
ADDED = {
    "1010": {"content": "<|endoftext|>", "rstrip": False, "special": True},
    "1024": {"content": "<x>", "lstrip": True, "normalized": True, "single_word": True},
}
TALK = "<|user|>What is shown in <|image_1|> and <|audio_1|>?<|end|><|assistant|>[1, 2] \u00e9\U0001f44d<|image_2|>"
TOOL = {"name": "f", "description": "d", "parameters": {"a": {"type": "array", "description": "x", "default": [1]}}}

HEADER = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "U8", "shape": [4], "data_offsets": [24, 28]},
}


@dataclass(frozen=True)
class Reader:
    """What is read, from which valid files; `mend` repairs the checksums of half of the damaged ones."""

    read: Callable[[bytes, Path], object]
    valid: Callable[[], list[bytes]]
    mend: Callable[[bytes], bytes] | None = None
    json: bool = False


def images(format: str, *modes: str) -> Callable[[], list[bytes]]:
    """Small images of one format."""

    def valid() -> list[bytes]:
        found = []
        for mode in modes:
            file = io.BytesIO()
            pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).convert(mode).save(file, format)
            found.append(file.getvalue())
        return found

    return valid


def clips(format: str, *subtypes: str) -> Callable[[], list[bytes]]:
    """Short audio clips of one container, without the time and the random number that libsndfile writes into them."""

    def valid() -> list[bytes]:
        found = []
        for subtype in subtypes:
            file = io.BytesIO()
            noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1600, 2))
            soundfile.write(file, noise, 16000, format=format, subtype=subtype)
            data = bytearray(file.getvalue())
            if (peak := data.find(b"PEAK")) > 0:
                data[peak + 12 : peak + 16] = bytes(4)
            found.append(mended_ogg(bytes(data), serial=bytes(4)))
        return found

    return valid


def sound_tracks(container: str, codec: str, rate: int) -> Callable[[], list[bytes]]:
    """A short audio clip, written by FFmpeg without random numbers."""
    return lambda: [with_pyav(sound(6000), container, codec, rate, fflags="+bitexact")]


def mended_png(data: bytes) -> bytes:
    """The same chunks with the right checksums."""
    at, out = 8, [data[:8]]
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        out.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join([*out, data[at:]])


def mended_ogg(data: bytes, serial: bytes = b"") -> bytes:
    """The same pages with the right checksums, and with the number `serial` where it is given."""
    out, at = bytearray(data), data.find(b"OggS")
    while at >= 0 and at + 27 <= len(out):
        end = at + 27 + out[at + 26]
        end += sum(out[at + 27 : end])
        out[at + 14 : at + 14 + len(serial)] = serial
        out[at + 22 : at + 26] = bytes(4)
        out[at + 22 : at + 26] = crc(out[at:end], 32, 0x04C11DB7).to_bytes(4, "little")
        at = out.find(b"OggS", min(end, at + 27))
    return bytes(out)


def mended_flac(data: bytes) -> bytes:
    """The same frames with the right checksums; a frame ends where the next one begins."""
    out = bytearray(data)
    places = [found.start() for found in re.finditer(rb"\xff\xf8", data)]
    for at, end in itertools.pairwise([*places, len(out)]):
        if end - at < 20:
            continue  # too short for a frame's header and its checksums
        number = max(1, 8 - (out[at + 4] ^ 255).bit_length())  # bytes of the frame's number, as in UTF-8
        head = at + 4 + number + {6: 1, 7: 2}.get(out[at + 2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(out[at + 2] & 15, 0)
        out[head] = crc(out[at:head], 8, 0x07)
        out[end - 2 : end] = crc(out[at : end - 2], 16, 0x8005).to_bytes(2, "big")
    return bytes(out)


def crc(data: bytes | bytearray, bits: int, polynomial: int) -> int:
    """A cyclic redundancy check that begins with 0, most significant bit first."""
    table, value, mask = crc_table(bits, polynomial), 0, (1 << bits) - 1
    for byte in data:
        value = value << 8 & mask ^ table[value >> bits - 8 ^ byte]
    return value


@functools.cache
def crc_table(bits: int, polynomial: int) -> tuple[int, ...]:
    """The check of every single byte."""
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial | 1 << bits if value >> bits - 1 else 0)
        table.append(value)
    return tuple(table)


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """A reader of a path, for bytes."""

    def written(data: bytes, folder: Path) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return written


def read_prompt(data: bytes, folder: Path) -> None:
    """A hostile person's text through the chat template and the tokenizer."""
    text, tokenizer = data.decode(errors="replace"), nano_tokenizer()
    pieces = render([Message.system(text), Message.user(text, Image(data), text)])
    ids = tokenizer.encode([piece for piece in pieces if isinstance(piece, (str, Special))])
    assert sum(map(tokenizer.is_special, ids)) == sum(isinstance(piece, Special) for piece in pieces)
    resolve_media_tags(text, tokenizer, 2, 1)


def read_added(data: bytes, folder: Path) -> object:
    """tokenizer_config.json beside the tokenizer of the model in the box."""
    (folder / "tokenizer.json").write_bytes((NANO / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_bytes(data)
    return Tokenizer.from_folder(folder)


def read_tool(data: bytes, folder: Path) -> object:
    """A tool as a client may declare it, where it is JSON at all."""
    try:
        declared = json.loads(data)
    except ValueError:
        return None
    return as_tool(declared)


def read_tensor_list(data: bytes, folder: Path) -> object:
    """A safetensors file with this header and the bytes of HEADER's tensors."""
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data + bytes(28))
    return read_header(folder / "model.safetensors")


def read_stream(data: bytes, folder: Path) -> None:
    """Bytes as a model may give them, in pieces, with stop strings cut from them."""
    stop = tuple(found for at in (3, 20) if (found := data[at : at + 5].decode(errors="replace")))
    pieces = [data[at : at + 1 + at % 3] for at in range(0, len(data), 3)]
    stream = TextStream(lambda number: pieces[number], stop)
    text = "".join([*(stream.push(number) for number in range(len(pieces))), stream.finish()])
    assert text == stream.text


def nano_tokenizer() -> Tokenizer:
    """The tokenizer of the model in the box, read once."""
    global _tokenizer
    _tokenizer = _tokenizer or Tokenizer(NANO / "tokenizer.json")
    return _tokenizer


_tokenizer: Tokenizer | None = None


def read_image(data: bytes, folder: Path) -> object:
    """An image as it is handed in."""
    return open_image(Image(data))


def read_audio(data: bytes, folder: Path) -> object:
    """An audio clip as it is handed in."""
    return open_audio(Audio(data))


READERS = {
    "png": Reader(read_image, images("PNG", "RGB", "L", "P", "RGBA", "I;16"), mended_png),
    "jpeg": Reader(read_image, images("JPEG", "RGB", "L", "CMYK")),
    "webp": Reader(read_image, images("WEBP", "RGB", "RGBA")),
    "tiff": Reader(read_image, images("TIFF", "RGB", "1", "CMYK")),
    "bmp": Reader(read_image, images("BMP", "RGB", "P")),
    "ppm": Reader(read_image, images("PPM", "RGB", "L")),
    "wav": Reader(read_audio, clips("WAV", "PCM_16", "FLOAT", "ULAW", "MS_ADPCM")),
    "aiff": Reader(read_audio, clips("AIFF", "PCM_24")),
    "flac": Reader(read_audio, clips("FLAC", "PCM_16"), mended_flac),
    "ogg": Reader(read_audio, clips("OGG", "VORBIS", "OPUS"), mended_ogg),
    "mp3": Reader(read_audio, clips("MP3", "MPEG_LAYER_III")),
    "mp2": Reader(read_audio, sound_tracks("mp2", "mp2", 16_000)),
    "mp4": Reader(read_audio, sound_tracks("mp4", "aac", 16_000)),
    "webm": Reader(read_audio, sound_tracks("webm", "libopus", 48_000)),
    "safetensors": Reader(
        from_file("model.safetensors", read_header),
        lambda: [save({"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.uint8)}, {"format": "pt"})],
    ),
    "tensor_list": Reader(read_tensor_list, lambda: [json.dumps(HEADER).encode()], json=True),
    "config": Reader(
        from_file("config.json", lambda path: load_config(path.parent)),
        lambda: [(GOLDEN / f"{name}.json").read_bytes() for name in ("tiny", "tiny_rope96", "published")],
        json=True,
    ),
    "tokenizer": Reader(
        lambda data, folder: Tokenizer(data), lambda: [(NANO / "tokenizer.json").read_bytes()], json=True
    ),
    "added_tokens": Reader(read_added, lambda: [json.dumps({"added_tokens_decoder": ADDED}).encode()], json=True),
    "tool": Reader(read_tool, lambda: [json.dumps(TOOL).encode()], json=True),
    "tool_calls": Reader(
        lambda data, folder: parse_tool_calls(data.decode(errors="surrogateescape")),
        lambda: [CALL.encode(), f"<|tool_call|>{CALL[9:]}<|/tool_call|>".encode()],
    ),
    "prompt": Reader(read_prompt, lambda: [TALK.encode()]),
    "stream": Reader(read_stream, lambda: [TALK.encode() * 3]),
}


def damaged(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Up to eight faults, one after the other."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at, size = chance.randrange(len(out) + 1), chance.choice((1, 2, 4, 30))
        match chance.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                number = chance.choice(NUMBERS).to_bytes(8, chance.choice(("big", "little")))
                out[at : at + min(size, 8)] = number[-size:] if chance.random() < 0.5 else number[:size]
            case 2:
                out[at:at] = chance.randbytes(size)
            case 3:
                del out[at : at + size]
            case 4:
                out[at:at] = out[at : at + size * 4]
            case 5 if chance.random() < 0.2:
                del out[at:]
            case 6 if chance.random() < 0.5:
                other = chance.choice(others)
                begin = chance.randrange(len(other))
                out[at:at] = other[begin : begin + 200]
    return bytes(out)


def damaged_json(data: bytes, chance: random.Random) -> bytes:
    """One to three values or names replaced, anywhere in the tree."""
    value = json.loads(data)
    for _ in range(chance.randint(1, 3)):
        inner = value
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(inner[key], (dict, list)) and inner[key] and chance.random() < 0.8:
                inner = inner[key]
                continue
            if chance.random() < 0.2:
                del inner[key]
            elif isinstance(inner, dict) and chance.random() < 0.2:
                inner[chance.choice(("", "\0", "type", f"{key} "))] = inner.pop(key)
            else:
                inner[key] = chance.choice(VALUES)
            break
    return json.dumps(value).encode()


def case(reader: Reader, valid: list[bytes], key: str) -> bytes:
    """The damaged file of one number."""
    chance = random.Random(key)
    data = chance.choice(valid)
    if reader.json and chance.random() < 0.7:
        return damaged_json(data, chance)
    data = damaged(data, valid, chance)
    return reader.mend(data) if reader.mend is not None and chance.random() < 0.5 else data


def attempt(reader: Reader, data: bytes, folder: Path) -> str:
    """Whether it was "read" or "refused"; anything else that is raised is the fault that is looked for."""
    try:
        reader.read(data, folder)
    except PhiError:
        return "refused"
    return "read"


def work(name: str, seed: int, cases: int, progress: mmap.mmap, results: Any) -> None:
    """All cases of one reader, in a process of its own; `progress` holds the number of the one that runs."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where the decoders' own libraries complain
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    reader = READERS[name]
    valid, wrong, counts = reader.valid(), [], {"read": 0, "refused": 0}
    first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        for data in valid:
            if attempt(reader, data, Path(folder)) != "read":
                wrong.append(f"refuses the valid {data[:80]!r}")
        for number in range(cases):
            progress[:8] = number.to_bytes(8, "little")
            signal.alarm(SECONDS)  # whose default ends the process, in a library's loop too
            try:
                counts[attempt(reader, case(reader, valid, f"{name} {seed} {number}"), Path(folder))] += 1
            except BaseException as error:  # a library in Rust panics with one that is no Exception
                wrong.append(f"case {number}: {type(error).__name__}: {error!s:.200}")
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first > MOST_GROWTH:
                wrong.append(f"case {number}: took more than {MOST_GROWTH} KiB")
                break
            if len(wrong) == 20:
                break
    signal.alarm(0)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first) // 1024
    results.put({**counts, "growth_mb": growth, "wrong": wrong})


def fuzz(name: str, seed: int, cases: int) -> dict[str, Any]:
    """One reader; a process that ends without its results is told with the case that ended it."""
    context = multiprocessing.get_context("fork")
    progress, results, start = mmap.mmap(-1, 8), context.SimpleQueue(), time.perf_counter()
    process = context.Process(target=work, args=(name, seed, cases, progress, results))
    process.start()
    process.join()
    if process.exitcode == 0:
        found: dict[str, Any] = results.get()
    else:
        number = int.from_bytes(progress[:8], "little")
        found = {"wrong": [f"case {number}: the process ended with {process.exitcode}"]}
    return found | {"seconds": round(time.perf_counter() - start, 1)}


def main() -> int:
    """Parse arguments, fuzz, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", nargs="*", choices=sorted(READERS), default=list(READERS))
    parser.add_argument("--case", type=int)
    args = parser.parse_args()
    if args.case is not None:
        for name in args.reader:
            data = case(READERS[name], READERS[name].valid(), f"{name} {args.seed} {args.case}")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    print(name, attempt(READERS[name], data, Path(folder)))
                except BaseException:
                    print(f"{name}: {data[:400]!r}")
                    traceback.print_exc()
        return 0
    found = {}
    for name in args.reader:
        found[name] = fuzz(name, args.seed, args.cases)
        print(f"{name:12} {found[name]}", file=sys.stderr)
    wrong = [f"{name} {line}" for name, result in found.items() for line in result["wrong"]]
    record = {"cases": args.cases, "seed": args.seed, "readers": found, "wrong": wrong}
    print(json.dumps(record | {"provenance": provenance()}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The public API with a synthetic checkpoint: its answers have no meaning, but they are always the same."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch

import phi4mm
from phi4mm import ChatRequest, InputError, Message, SamplingParams
from phi4mm.config.engine import EngineConfig
from phi4mm.engine.request import Request
from phi4mm.errors import ConfigError
from phi4mm.inference.load import eos_ids
from phi4mm.inference.model import Model
from phi4mm.inference.resolve import resolve

SHORT = SamplingParams(max_tokens=12)


def make_image(seed: int = 0) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 70, 3), np.uint8))


def samples(seconds: float = 0.5, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)


def test_streamed_pieces_add_up_to_the_reply_of_chat(small: Model) -> None:
    """No piece may be lost or repeated at the end of a stream."""
    stream = small.stream("hello world", params=SHORT)
    pieces = list(stream)
    assert "".join(pieces) == stream.reply.text == small.chat("hello world", params=SHORT).text
    assert all(pieces)
    assert stream.reply.usage.completion_tokens == len(stream.reply.ids) <= 12


def test_text_contains_no_special_tokens(small: Model) -> None:
    """A synthetic model generates role tokens at random; they must not appear in the text."""
    texts = [small.chat(f"{n} red", params=SamplingParams(max_tokens=40)).text for n in range(8)]
    assert not any(token in text for text in texts for token in ("<|user|>", "<|end|>", "<|endoftext|>"))


def test_two_streams_read_in_turn_equal_each_alone(small: Model) -> None:
    """They share steps; a piece must never appear in the other stream's text."""
    alone = [small.chat(words, params=SHORT).text for words in ("red circle", "blue world")]
    first, second = small.stream("red circle", params=SHORT), small.stream("blue world", params=SHORT)
    mixed = ["", ""]
    for piece in first:
        mixed[0] += piece
        mixed[1] += next(second, "")
    mixed[1] += "".join(second)
    assert mixed == alone


def test_a_batch_of_all_kinds_of_input_equals_each_request_alone(small: Model) -> None:
    """From media to text, with text, image, audio and mixed requests in one batch."""
    requests = [
        ChatRequest("hello", params=SHORT),
        ChatRequest("what is in the image", images=[make_image()], params=SHORT),
        ChatRequest("hello", audios=[(samples(), 16000)], params=SHORT),
        ChatRequest(images=[make_image(1), make_image(2)], audios=[(samples(0.9, 1), 16000)], params=SHORT),
        ChatRequest([Message.system("red"), Message.user("hello"), Message.assistant("world"), Message.user("tool")]),
    ]
    together = small.batch(requests)
    assert together == [small.batch([request])[0] for request in requests]
    assert [reply.usage.image_tokens > 0 for reply in together] == [False, True, False, True, False]
    assert [reply.usage.audio_tokens > 0 for reply in together] == [False, False, True, True, False]


def test_media_change_the_answer(small: Model) -> None:
    """A model that ignored its media would pass the equality tests."""
    replies = [small.chat("what", images=[make_image(n)], params=SHORT).ids for n in range(3)]
    assert len(set(replies)) == 3


def test_all_input_types_of_a_media_item_give_the_same_answer(small: Model, tmp_path: Path) -> None:
    """A path, bytes, a PIL image and an array of the same image; a path, bytes and arrays of the same audio clip."""
    image = make_image()
    image.save(tmp_path / "a.png")
    sources = [tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), image, np.asarray(image)]
    assert len({small.chat("what", images=[source], params=SHORT).ids for source in sources}) == 1
    pcm = (samples() * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(pcm.tobytes())
    (tmp_path / "a.wav").write_bytes(buffer.getvalue())
    sources = [tmp_path / "a.wav", buffer.getvalue(), (pcm, 16000), phi4mm.Audio(pcm, 16000)]
    assert len({small.chat("what", audios=[source], params=SHORT).ids for source in sources}) == 1


def test_generate_takes_the_published_format(small: Model) -> None:
    """`chat` writes the same format, so the same text through both methods is the same prompt."""
    raw = small.generate(
        prompt="<|user|><|image_1|>what is in<|end|><|assistant|>", images=[make_image()], params=SHORT
    )
    assert raw == small.chat("what is in", images=[make_image()], params=SHORT)


def test_max_tokens_ends_an_answer_with_length(small: Model) -> None:
    """A shortened answer must say so in its finish reason."""
    whole = small.chat("hello world", params=SamplingParams(max_tokens=30))
    cut = small.chat("hello world", params=SamplingParams(max_tokens=3))
    assert cut.finish_reason == "length"
    assert cut.ids == whole.ids[:3]


def test_a_stop_string_ends_the_answer_before_it(small: Model) -> None:
    """The stop string is found in text, not in tokens, and is not part of the answer."""
    whole = small.chat("hello world", params=SHORT).text
    stop = whole[len(whole) // 2 :][:2]
    reply = small.chat("hello world", params=SamplingParams(max_tokens=12, stop=(stop,)))
    assert reply.text == whole[: whole.index(stop)]
    assert reply.finish_reason == "stop"
    assert len(reply.ids) < 12


def test_a_closed_stream_is_aborted_and_has_no_reply(small: Model) -> None:
    """Otherwise its answer would go on in every later step."""
    with small.stream("hello", params=SHORT) as stream:
        next(stream)
    assert not small.stats().busy
    with pytest.raises(InputError, match="has not ended"):
        _ = stream.reply


def test_an_answer_that_has_not_ended_has_no_reply(small: Model) -> None:
    """Half an answer must not be taken for a whole one."""
    stream = small.stream("hello", params=SHORT)
    with pytest.raises(InputError, match="iterate to the end first"):
        _ = stream.reply
    stream.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": "stop.jpg"}, r"images is one str; expected a list, as in images=\[...\]"),
        ({"audios": b"RIFF"}, r"audios is one bytes; expected a list"),
        ({"audios": [(np.zeros(10), 16000, 1)]}, r"an audio tuple has 3 items; expected \(samples, rate\)"),
        ({"images": ["no/such/file.png"]}, "file.png"),
        ({"content": ""}, "empty|no "),
        ({"content": [Message.user("a")], "system": "b"}, "inside the messages"),
    ],
)
def test_a_request_that_cannot_work_is_an_input_error(small: Model, arguments: dict[str, object], message: str) -> None:
    """The message says what was found and what to do, and the next request is answered."""
    with pytest.raises(InputError, match=message):
        small.chat(**arguments)  # type: ignore[arg-type]
    assert small.chat("hello", params=SHORT).ids


def test_a_prompt_over_the_context_names_both_numbers(small: Model) -> None:
    """The small model's context is 192 tokens; prompts are never truncated."""
    with pytest.raises(InputError, match="192"):
        small.chat("0123456789 " * 200)
    assert not small.stats().busy


def test_one_bad_request_of_a_batch_leaves_no_other_running(small: Model) -> None:
    """The batch fails as a whole; its first requests must not go on in later steps."""
    with pytest.raises(InputError):
        small.batch([ChatRequest("hello"), ChatRequest("hello", images=["no/such.png"])])
    assert not small.stats().busy


def test_media_whose_tower_was_not_loaded_are_refused(small_folder: Path) -> None:
    """The published code would answer without the adapter, with a wrong answer."""
    model = phi4mm.load(small_folder, device="cpu", modalities="text")
    assert model.chat("hello", params=SHORT).ids
    with pytest.raises(InputError, match="the prompt has image input but the model was loaded without a tower for it"):
        model.chat("what", images=[make_image()])
    speech = phi4mm.load(small_folder, device="cpu", modalities="speech")
    assert speech.chat("what", audios=[(samples(), 16000)], params=SHORT).ids
    with pytest.raises(InputError, match="the prompt has image input but"):
        speech.chat("what", images=[make_image()])


def test_bfloat16_answers_too(small_folder: Path, small: Model) -> None:
    """On some CPUs the towers upcast their weights: every kind of input must work with 16-bit weights."""
    model = phi4mm.load(small_folder, device="cpu", dtype="bfloat16")
    exact = small.chat("what", images=[make_image()], audios=[(samples(), 16000)], params=SHORT)
    reply = model.chat("what", images=[make_image()], audios=[(samples(), 16000)], params=SHORT)
    assert reply.usage.prompt_tokens == exact.usage.prompt_tokens
    assert reply.ids[0] == exact.ids[0]


def test_resolve_gives_the_reasons_of_its_choices() -> None:
    """`phi4mm doctor` and the demo print these reasons."""
    chosen = resolve(EngineConfig(device="cpu"), weight_bytes=11_000_000_000)
    assert (chosen.device, chosen.dtype) == ("cpu", "bfloat16")
    assert any("float32 would take twice the memory" in reason for reason in chosen.reasons)
    assert resolve(EngineConfig(device="cpu"), weight_bytes=20_000_000).dtype == "float32"


def test_speculative_decoding_does_not_change_replies(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tokens may be accepted in one step, and a stop string may end the answer at the first of them."""
    wording = "red circle blue"
    monkeypatch.setattr("phi4mm.engine.scheduler.propose", lambda request, max_tokens: ())
    whole = small.chat(wording, params=SamplingParams(max_tokens=24))
    stops = [whole.text[n : n + 2] for n in range(0, len(whole.text) - 2, 3)]
    variants = [SamplingParams(max_tokens=24, stop=(stop,)) for stop in stops] + [SamplingParams(max_tokens=9)]
    alone = [small.chat(wording, params=params) for params in variants]

    def propose_right(request: Request, max_tokens: int) -> tuple[int, ...]:
        return whole.ids[len(request.answer) :][: max(max_tokens, 0)]

    monkeypatch.setattr("phi4mm.engine.scheduler.propose", propose_right)
    speculative = [small.chat(wording, params=params) for params in variants]
    assert speculative == alone
    stats = small.stats()
    assert stats.proposed_tokens_total >= stats.accepted_tokens_total > 0
    assert small.batch([ChatRequest(wording, params=params) for params in variants[:2]]) == alone[:2]
    assert len({reply.usage.completion_tokens for reply in alone}) > 2, "stops must come at different tokens"


@pytest.mark.parametrize(
    ("first", "stated", "expected"),
    [
        ("", {}, "1000"),
        ("", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("", {"OMP_WAIT_POLICY": "active"}, "None"),
        ("import torch; ", {}, "None"),
    ],
)
def test_case_b1_waiting_threads_spin_for_microseconds(first: str, stated: dict[str, str], expected: str) -> None:
    """Beside busy processes, threads that spin for milliseconds made answers 20 times slower; OpenMP reads it once."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    code = f"{first}import os, phi4mm; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | stated, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(("cores", "stated", "threads"), [(1, None, 1), (4, None, 2), (1, "2", 2)])
def test_case_b1_threads_stay_within_the_cpu_quota(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, cores: int, stated: str | None, threads: int
) -> None:
    """Under a quota of one core two threads wait for each other; a number that the user set is kept."""
    monkeypatch.setattr("phi4mm.inference.load.usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if stated is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with phi4mm.load(small_folder, device="cpu") as model:
            assert torch.get_num_threads() == threads
            told = [reason for reason in model.settings.reasons if reason.startswith("threads ")]
            assert len(told) == (threads == 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("stated", [True, [True], [], list(range(101)), 2**70])
def test_case_c_end_ids_that_are_none_are_refused(stated: object, small: Model, tmp_path: Path) -> None:
    """`true` was the id 1, which ends answers anywhere."""
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": stated}))
    with pytest.raises(ConfigError, match=r"eos_token_id is .*; expected 1 to 100 ids below"):
        eos_ids(tmp_path, small.config)


@pytest.mark.parametrize("number", ["9" * 10**6, "-1"])
def test_case_c_the_number_of_a_device_is_bounded(number: str) -> None:
    """Python refuses to read a number of so many digits, with an error that says nothing of devices."""
    with pytest.raises(ConfigError, match=r"device is 'cpu:.*; expected cpu:0 to cpu:0") as found:
        resolve(EngineConfig(f"cpu:{number}"))
    assert len(str(found.value)) < 200

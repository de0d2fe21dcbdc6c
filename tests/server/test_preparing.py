"""Hostile media end in a refusal: the server lives, the next good request is right, and no place is lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.errors import CapacityError, EngineError, InputError
from phi4mm.processing.image import ImageProcessor
from phi4mm.processing.openai_messages import as_message
from phi4mm.processing.processor import Processor
from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.inputs import AudioFrames, ImageCrops, Prompt
from phi4mm.protocol.messages import Audio, Image, Message
from phi4mm.server import prompt_wire
from phi4mm.server.media_error import MediaError
from phi4mm.server.media_policy import MediaPolicy
from phi4mm.server.preparing import Child, Preparer
from phi4mm.server.prompt_wire import WireError, receive_head, receive_prompt, send_head, send_prompt
from tests.processing.audio_files import with_libsndfile
from tests.processing.conftest import tokenizer_json
from tests.server.corpus import audio, images
from tests.server.corpus.case import Case
from tests.server.corpus.text import CONVERSATIONS, RAW, Conversation, Raw
from tests.server.faulty import Faulty, Unloadable

TOKENIZER = Tokenizer(tokenizer_json())
PROCESSOR = Processor(TOKENIZER, ImageProcessor(), 16_384)
IMAGE, CLIP = images.encoded("PNG"), audio.wav(audio.pcm(9_000))
GOOD = [Message.user(Image(IMAGE), Audio(CLIP), "What is shown?")]
CASES = [*((Image, case) for case in images.cases()), *((Audio, case) for case in audio.cases())]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as found:
        yield found


@pytest.fixture(scope="module")
def preparer(runner: asyncio.Runner) -> Iterator[Preparer]:
    """One for the whole corpus, with one process."""
    found = Preparer(PROCESSOR, processes=1)
    yield found
    found.close()


@pytest.fixture
def faulty() -> Iterator[Preparer]:
    """One process of a faulty processor."""
    found = make_faulty()
    yield found
    found.close()


def make_faulty(processor: Faulty | None = None, **options: Any) -> Preparer:
    given: Any = processor or Faulty(TOKENIZER)
    return Preparer(given, **{"processes": 1, "seconds": 20.0} | options)


async def says(preparer: Preparer, word: str) -> Prompt:
    return await preparer.chat([Message.user(word, Image(b"x"))])


def same(one: Prompt, other: Prompt) -> bool:
    """Equal in all that the model gets."""
    if one.ids != other.ids or len(one.spans) != len(other.spans):
        return False
    for a, b in zip(one.spans, other.spans, strict=True):
        if (a.kind, a.start, a.length, a.digest) != (b.kind, b.start, b.length, b.digest):
            return False
        if isinstance(a.data, ImageCrops) and isinstance(b.data, ImageCrops):
            facts = [
                (d.grid, d.valid, d.side, d.crops.dtype, d.crops.shape, d.crops.tobytes()) for d in (a.data, b.data)
            ]
        else:
            assert isinstance(a.data, AudioFrames) and isinstance(b.data, AudioFrames)
            facts = [(d.seconds, d.features.dtype, d.features.shape, d.features.tobytes()) for d in (a.data, b.data)]  # type: ignore[misc]
        if facts[0] != facts[1]:
            return False
    return True


EXPECTED = PROCESSOR.chat(GOOD)


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{kind.__name__} {case.name}" for kind, case in CASES])
def test_no_media_item_of_the_corpus_harms_the_server(
    runner: asyncio.Runner, preparer: Preparer, kind: Any, case: Case
) -> None:
    """Each of these crashed, filled or misled some server; here its process does not even have to be replaced."""
    before, data = preparer.processes, case.make()
    messages = [Message.user(kind(data), "What is it?")]
    if case.refused is None:
        assert same(runner.run(preparer.chat(messages)), PROCESSOR.chat(messages))
    else:
        with pytest.raises(InputError, match=case.refused) as caught:
            runner.run(preparer.chat(messages))
        assert (getattr(caught.value, "status", 400), len(str(caught.value)) < 400) == (case.status, True)
        assert "0x" not in str(caught.value)
    assert same(runner.run(preparer.chat(GOOD)), EXPECTED)
    assert preparer.processes == before


@pytest.mark.parametrize("case", CONVERSATIONS, ids=lambda case: case.name)
def test_no_conversation_of_the_corpus_harms_the_server(
    runner: asyncio.Runner, preparer: Preparer, case: Conversation
) -> None:
    """Alone, and beside an image, where it is read in the other process."""

    async def prompt(*media: Image) -> Prompt:
        messages = [as_message(message, number) for number, message in enumerate(case.messages, 1)]
        return await preparer.chat([*messages, Message.user(*media)] if media else messages)

    if case.refused is not None:
        with pytest.raises(InputError, match=case.refused) as caught:
            runner.run(prompt())
        assert len(str(caught.value)) < 400
    else:
        found = runner.run(prompt())
        assert not {TOKENIZER.id(Special.IMAGE), TOKENIZER.id(Special.AUDIO)} & set(found.ids)
        assert [span.kind for span in runner.run(prompt(Image(IMAGE))).spans] == ["image"]


@pytest.mark.parametrize("case", RAW, ids=lambda case: case.name)
def test_no_raw_prompt_of_the_corpus_harms_the_server(runner: asyncio.Runner, preparer: Preparer, case: Raw) -> None:
    """Tags that do not fit their media index beyond them elsewhere."""
    media = [Image(IMAGE)] * case.images, [Audio(CLIP)] * case.audios
    if case.refused is None:
        assert same(runner.run(preparer.raw(case.text, *media)), PROCESSOR.prompt(case.text, *media))
    else:
        with pytest.raises(InputError, match=case.refused) as caught:
            runner.run(preparer.raw(case.text, *media))
        assert len(str(caught.value)) < 400


def test_a_prompt_fills_the_context_exactly_or_is_refused(runner: asyncio.Runner, preparer: Preparer) -> None:
    """One token more is refused with both numbers, also where media bring them."""
    tokens = PROCESSOR.context - len(runner.run(preparer.raw("<|user|><|image_1|>", [Image(IMAGE)])).ids)
    for more in (-1, 0):
        text = "<|user|><|image_1|>" + "<|end|>" * (tokens + more)
        assert len(runner.run(preparer.raw(text, [Image(IMAGE)])).ids) == PROCESSOR.context + more
    with pytest.raises(InputError, match="takes at least 16385 tokens, but the model's context has 16384"):
        runner.run(preparer.raw(text + "<|end|>", [Image(IMAGE)]))


def test_more_media_than_allowed_are_refused_before_any_is_decoded(runner: asyncio.Runner, preparer: Preparer) -> None:
    """Sixty-five images."""
    with pytest.raises(MediaError, match="the request has 65 images and audio clips; expected at most 64"):
        runner.run(preparer.chat([Message.user(*[Image(IMAGE)] * 65)]))


def test_clips_of_different_length_share_a_request(runner: asyncio.Runner, preparer: Preparer) -> None:
    """Two clips of different length ended the engine of others."""
    messages = [Message.user(*(Audio(audio.wav(audio.pcm(n))) for n in (1, 5_000, 16_000)))]
    found = runner.run(preparer.chat(messages))
    assert same(found, PROCESSOR.chat(messages))
    assert len({span.length for span in found.spans}) == 3


def test_images_that_differ_in_their_palette_alone_share_no_digest(runner: asyncio.Runner, preparer: Preparer) -> None:
    """A key of the indexes alone answered with the image of somebody else."""
    pair = [images.transparent_palette(red) for red in (10, 200)]
    found = runner.run(preparer.chat([Message.user(*map(Image, pair))]))
    assert found.spans[0].digest != found.spans[1].digest


def test_data_uris_are_read_whatever_type_they_state(runner: asyncio.Runner, preparer: Preparer) -> None:
    """The content decides; a URI without data, or not in base64, is refused."""
    data = base64.b64encode(IMAGE).decode()
    for head in ("data:image/png;base64,", "data:text/html;base64,", "DATA:;base64,"):
        found = runner.run(preparer.chat([Message.user(Image(head + data))]))
        assert same(found, PROCESSOR.chat([Message.user(Image(IMAGE))]))
    for uri in (
        "data:",
        f"data:image/png;base64{data}",
        "data:image/png,abc",
        "data:image/png;base64,!!!",
        "data:;base64,",
    ):
        with pytest.raises(InputError, match="image 1"):
            runner.run(preparer.chat([Message.user(Image(uri))]))
    with pytest.raises(MediaError, match="image 1: it has 201000000 bytes"):
        runner.run(preparer.chat([Message.user(Image("data:image/png;base64," + "A" * 268_000_000))]))


def test_a_path_never_reaches_the_decoders(runner: asyncio.Runner, preparer: Preparer, tmp_path: Path) -> None:
    """In the library a string is a path; from a client it must not be."""
    (tmp_path / "a.png").write_bytes(IMAGE)
    for source in (str(tmp_path / "a.png"), tmp_path / "a.png", f"file:{tmp_path}/a.png"):
        with pytest.raises(MediaError, match="neither a data URI nor a URL"):
            runner.run(preparer.chat([Message.user(Image(source))]))
        with pytest.raises(MediaError, match="neither a data URI nor a URL"):
            runner.run(preparer.raw("<|image_1|>", [Image(source)]))
    allowed = Preparer(PROCESSOR, MediaPolicy(local_folder=tmp_path), processes=1)
    try:
        found = runner.run(allowed.chat([Message.user(Image("file:a.png"))]))
        assert same(found, PROCESSOR.chat([Message.user(Image(IMAGE))]))
    finally:
        allowed.close()


@pytest.mark.parametrize("word", ["crash", "exit", "forge"])
def test_a_process_that_ends_or_lies_is_replaced(runner: asyncio.Runner, faulty: Preparer, word: str) -> None:
    """The request that ended it is refused; the next one is right."""
    first = faulty.processes
    with pytest.raises(MediaError, match="cannot be decoded: they are damaged") as caught:
        runner.run(says(faulty, word))
    assert caught.value.status == 400
    assert runner.run(says(faulty, "good")).ids == tuple(b"good")
    assert faulty.processes != first


def test_a_process_that_ended_while_it_was_idle_is_replaced(runner: asyncio.Runner, faulty: Preparer) -> None:
    """The system may end it when memory is short; the next request did nothing wrong."""
    assert runner.run(says(faulty, "good")).ids
    child = faulty._idle[0]
    os.kill(child.id, signal.SIGKILL)
    child._process.wait()
    assert runner.run(says(faulty, "good")).ids == tuple(b"good")


def test_media_that_take_too_long_are_given_up(runner: asyncio.Runner) -> None:
    """Time is bounded for each request, and its place is free afterwards."""
    preparer = make_faulty(seconds=1.0)
    try:
        with pytest.raises(MediaError, match=r"took more than 1 seconds to decode") as caught:
            runner.run(says(preparer, "sleep"))
        assert caught.value.status == 413
        assert runner.run(says(preparer, "good")).ids == tuple(b"good")
    finally:
        preparer.close()


def test_a_process_stops_computing_by_itself(runner: asyncio.Runner) -> None:
    """A server that was killed would leave a process behind that computes for ever."""
    given: Any = Faulty(TOKENIZER)
    child = Child(given, memory=2**30, seconds=0)
    runner.run(child.started())
    with pytest.raises(EOFError):
        runner.run(child.ask("chat", ([Message.user("spin")], ())))
    assert child._process.wait() == -signal.SIGXCPU
    child.kill()


@pytest.mark.parametrize(
    ("word", "error", "told"),
    [
        ("allocate", InputError, "take too much memory to decode"),
        ("fault", EngineError, "a prompt could not be prepared"),
        ("write", EngineError, "a prompt could not be prepared"),
    ],
)
def test_what_a_process_must_not_do_ends_its_request_alone(
    runner: asyncio.Runner, faulty: Preparer, word: str, error: type[Exception], told: str, caplog: Any
) -> None:
    """Too much memory, a fault, a file; what Python says of them is for the log."""
    with caplog.at_level(logging.ERROR), pytest.raises(error, match=told) as caught:
        runner.run(says(faulty, word))
    assert "secret" not in str(caught.value) and "0x" not in str(caught.value)
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert runner.run(says(faulty, "good")).ids == tuple(b"good")


def test_a_process_has_no_secrets(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that somebody took over would find the keys of the server in its environment."""
    monkeypatch.setenv("PHI4MM_API_KEY", "secret")
    preparer = make_faulty()
    try:
        assert runner.run(says(preparer, "environment PHI4MM_API_KEY")).ids == (0,)
        assert runner.run(says(preparer, "environment PATH")).ids == (1,)
    finally:
        preparer.close()


def test_a4_a_client_that_leaves_frees_its_place(runner: asyncio.Runner, faulty: Preparer) -> None:
    """Whether its media are being decoded, or wait for a process."""

    async def leave() -> float:
        running = asyncio.create_task(says(faulty, "sleep"))
        waiting = asyncio.create_task(says(faulty, "sleep"))
        await asyncio.sleep(0.5)
        for task in (waiting, running):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        start = time.perf_counter()
        assert (await says(faulty, "good")).ids == tuple(b"good")
        assert (faulty._requests, len(faulty._idle), faulty._busy) == (0, 1, set())
        return time.perf_counter() - start

    assert runner.run(leave()) < 10


def test_requests_wait_for_a_process_in_order_and_not_too_many_of_them(runner: asyncio.Runner) -> None:
    """A queue without end keeps the media of everybody in memory."""
    preparer = make_faulty(max_waiting=2)

    async def crowd() -> list[int]:
        done: list[int] = []

        async def ask(number: int) -> None:
            await says(preparer, "good")
            done.append(number)

        tasks = [asyncio.create_task(ask(number)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(CapacityError, match="3 prompts with media are being prepared or wait; try again later"):
            await says(preparer, "good")
        text = await preparer.chat([Message.user("text alone")])  # needs no process
        assert text.ids == tuple(b"text alone")
        await asyncio.gather(*tasks)
        return done

    try:
        assert runner.run(crowd()) == [0, 1, 2]
    finally:
        preparer.close()


def test_processes_start_in_the_background_and_end_with_the_server(runner: asyncio.Runner) -> None:
    """The server answers while they load, and leaves none behind."""
    preparer = make_faulty(processes=3)
    children = list(preparer._idle)
    assert [child._ready.done() for child in children] == [False] * 3
    for child in children:
        runner.run(child.started())
    preparer.close()
    assert [child._process.wait(5) for child in children] == [-signal.SIGKILL] * 3


KILLED = """
import asyncio, os, signal
from tests.server.test_preparing import make_faulty, says
async def run():
    preparer = make_faulty(processes=2, seconds=1.0)
    await says(preparer, "good")
    asyncio.get_running_loop().create_task(says(preparer, "spin"))
    await asyncio.sleep(0.3)
    print(*preparer.processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(run())
"""


def test_a_server_that_is_killed_leaves_no_process_behind() -> None:
    """Neither an idle one, nor one that computes: that one ends when its time is over."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", KILLED], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    processes = [Path("/proc", word) for word in done.stdout.split()]
    assert len(processes) == 2
    deadline = time.monotonic() + 60
    while any(map(running, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(process: Path) -> bool:
    """Whether a process is there and computes or waits; nobody may have reaped it."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_server_that_ends_fails_what_it_decodes(runner: asyncio.Runner) -> None:
    """And blames no media for it, nor starts another process."""
    preparer = make_faulty()

    async def end() -> None:
        await preparer._idle[0].started()
        tasks = [asyncio.create_task(says(preparer, "sleep")) for _ in range(2)]
        await asyncio.sleep(0.1)
        preparer.close()
        for ask in (*tasks, says(preparer, "good")):
            with pytest.raises(CapacityError, match="the server is ending"):
                await ask

    runner.run(end())
    assert preparer.processes == ()


def test_a_process_that_cannot_load_is_a_fault_of_the_server(runner: asyncio.Runner) -> None:
    """The client's media are not to blame."""
    preparer = make_faulty(Unloadable(TOKENIZER))
    try:
        with pytest.raises(EngineError, match="the process that decodes media does not start"):
            runner.run(says(preparer, "good"))
    finally:
        preparer.close()


IMAGE_HEAD = {"start": 0, "length": 2, "shape": [1, 2, 2, 3], "grid": [1, 1], "valid": [1, 1], "side": 1}
AUDIO_HEAD = {"start": 0, "length": 2, "shape": [3, 80], "seconds": 0.1}


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"ids": -1, "spans": []},
        {"ids": 2**40, "spans": []},
        {"ids": "2", "spans": []},
        {"ids": 2, "spans": {}},
        {"ids": 2, "spans": [7]},
        {"ids": 1, "spans": [IMAGE_HEAD]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"start": -1}]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"length": 0}]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"shape": [0, 2, 2, 3]}]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"shape": [1, 2, 4, 3]}]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"shape": [2**20, 2**10, 2**10, 3]}]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"grid": [1]}]},
        {"ids": 2, "spans": [IMAGE_HEAD | {"side": 0}]},
        {"ids": 2, "spans": [AUDIO_HEAD | {"shape": [3, 81]}]},
        {"ids": 2, "spans": [AUDIO_HEAD | {"seconds": "1"}]},
    ],
    ids=repr,
)
def test_a_forged_answer_of_a_process_is_recognised(head: dict[str, Any]) -> None:
    """Whoever took it over must get no further: no pickle, no memory, no ids and shapes that end the engine."""
    here, there = socket.socketpair()
    with here, there:
        send_head(there, **head)
        there.sendall(bytes(2_000))
        with pytest.raises(WireError):
            receive_prompt(here, receive_head(here), 100)


def test_an_image_counts_one_byte_for_each_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted as four, large images were refused at a quarter of the bound."""
    monkeypatch.setattr(prompt_wire, "MAX_ARRAYS", 8 + 12)
    head = {"ids": 2, "spans": [IMAGE_HEAD]}
    here, there = socket.socketpair()
    with here, there:
        there.sendall(bytes(8 + 12))
        assert len(receive_prompt(here, head, 100).spans) == 1
        monkeypatch.setattr(prompt_wire, "MAX_ARRAYS", 8 + 12 - 1)
        with pytest.raises(WireError, match="more than 19 bytes"):
            receive_prompt(here, head, 100)


def test_ids_beyond_the_vocabulary_are_recognised() -> None:
    """They would index beyond the embedding, in a step that others share."""
    here, there = socket.socketpair()
    with here, there:
        send_prompt(there, Prompt((1, 100)))
        with pytest.raises(WireError, match="vocabulary"):
            receive_prompt(here, receive_head(here), 100)


VALID = [
    *(images.encoded(format) for format in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")),
    *(with_libsndfile(audio.SECOND[:2_000], 16_000, format) for format in ("WAV", "FLAC", "OGG", "MP3", "AIFF")),
]
PATCH = st.tuples(st.integers(0, 2**16), st.integers(0, 8), st.binary(max_size=8))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=64) | st.sampled_from(VALID), patches=st.lists(PATCH, max_size=6), image=st.booleans())
def test_no_damaged_media_item_ends_a_process(
    runner: asyncio.Runner, preparer: Preparer, data: bytes, patches: list[tuple[int, int, bytes]], image: bool
) -> None:
    """Bytes that are replaced, put in and taken out anywhere; the good item after them is right."""
    damaged = bytearray(data)
    for at, removed, added in patches:
        at %= len(damaged) + 1
        damaged[at : at + removed] = added
    before = preparer.processes
    kind = Image if image else Audio
    with contextlib.suppress(InputError):
        runner.run(preparer.chat([Message.user(kind(bytes(damaged)))]))
    assert same(runner.run(preparer.chat(GOOD)), EXPECTED)
    assert preparer.processes == before

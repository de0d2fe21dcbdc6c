"""One model used by many threads, event loops and processes; deleted streams; cache hits in `usage`."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
import pytest

import phi4mm
from phi4mm import CapacityError, ChatRequest, EngineArgs, EngineError, InputError, SamplingParams
from phi4mm.api import Model
from phi4mm.processing.tokenizer import Special

WORDS = ("Hello.", "Good morning.", "Thank you.", "Goodbye.")
SHORT = SamplingParams(max_tokens=16)


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    """In float32, where other sequences of the batch must not change a single bit."""
    with phi4mm.load("nano", device="cpu", dtype="float32") as model:
        yield model


def make_image(seed: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 70, 3), np.uint8))


def test_case_a1_each_of_several_threads_gets_its_own_answer(nano: Model) -> None:
    """Case A1: 12 of 12 answers were mixed up. Here with streams and batches at the same time."""
    alone = {words: nano.chat(words).text for words in WORDS}
    with ThreadPoolExecutor(4) as pool:
        chats = pool.map(lambda words: (words, nano.chat(words).text), WORDS * 3)
        streams = pool.map(lambda words: (words, "".join(nano.stream(words))), WORDS * 3)
        batches = pool.map(lambda _: [reply.text for reply in nano.batch([ChatRequest(w) for w in WORDS])], range(3))
        assert all(text == alone[words] for words, text in [*chats, *streams])
        assert all(texts == list(alone.values()) for texts in batches)


def test_case_a1_through_asyncio(nano: Model) -> None:
    """Case A1 through `asyncio.to_thread`, with awaited and iterated streams at the same time."""
    alone = {words: nano.chat(words).text for words in WORDS}

    def chat(words: str) -> str:
        return nano.chat(words).text

    async def iterate(words: str) -> str:
        return "".join([piece async for piece in nano.stream(words)])

    async def ask_all() -> list[str]:
        threads = (asyncio.to_thread(chat, words) for words in WORDS * 3)
        replies = (nano.stream(words).afinish() for words in WORDS * 3)
        texts = await asyncio.gather(*threads, *(iterate(words) for words in WORDS * 3))
        return [*texts, *(reply.text for reply in await asyncio.gather(*replies))]

    assert asyncio.run(ask_all()) == [alone[words] for words in WORDS] * 9


def test_8_threads_and_200_tasks_get_the_answers_they_get_alone(nano: Model) -> None:
    """With text and images, in one engine at the same time."""

    def request(n: int) -> tuple[str, list[PIL.Image.Image]]:
        return f"What is shown in image {n % 7}?", [make_image(n % 3)] if n % 2 else []

    alone = {}
    for n in range(42):
        words, images = request(n)
        alone[n] = nano.chat(words, images=images, params=SHORT).ids

    async def task(n: int) -> bool:
        words, images = request(n)
        stream = nano.stream(words, images=images, params=SHORT)
        return (await stream.afinish()).ids == alone[n % 42]

    async def tasks() -> list[bool]:
        return await asyncio.gather(*(task(n) for n in range(200)))

    def thread(n: int) -> bool:
        words, images = request(n)
        return all(nano.chat(words, images=images, params=SHORT).ids == alone[n % 42] for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        threads = [pool.submit(thread, n) for n in range(8)]
        assert asyncio.run(tasks()) == [True] * 200
        assert all(each.result() for each in threads)
    assert not nano.stats().busy


def test_case_a12_deleted_streams_leave_the_queue(small_folder: Path) -> None:
    """Case A12: after `max_waiting` streams that were never read to the end, the model refused all requests."""
    engine_args = EngineArgs(max_waiting=4, max_num_seqs=2, max_num_batched_tokens=40)
    with phi4mm.load(small_folder, device="cpu", engine_args=engine_args) as model:
        long = SamplingParams(max_tokens=100)
        for _ in range(3):
            half_read = [model.stream("hello world", params=long) for _ in range(2)]
            for stream in half_read:
                next(stream)
            never_read = [model.stream(f"hello {n}", params=long) for n in range(4)]
            stats = model.stats()
            assert stats.waiting + stats.running == 6
            with pytest.raises(CapacityError, match="the queue has room for 0 more answers and this request needs 1"):
                model.chat("hello", params=SHORT)
            del half_read, never_read, stream
            gc.collect()
            assert model.chat("hello", params=SHORT).ids
            assert not model.stats().busy


def test_a_deleted_stream_stops_generating(nano: Model) -> None:
    """A half-read stream went on generating during later calls."""
    stream = nano.stream("Hello.", params=SamplingParams(max_tokens=100))
    next(stream)
    del stream
    gc.collect()
    before = nano.stats()
    assert not before.busy
    nano.chat("Goodbye.", params=SamplingParams(max_tokens=3))
    assert nano.stats().completion_tokens_total - before.completion_tokens_total <= 3


@pytest.mark.parametrize("engine", ["thread", "process", "inline"])
@pytest.mark.parametrize("leave", ["cancel", "close"])
def test_a4_a_client_that_leaves_before_the_first_piece_frees_its_pages(
    small_folder: Path, engine: Literal["thread", "process", "inline"], leave: str
) -> None:
    """Requirement a4: pages are free within one step also when nothing was read yet, streamed or not."""

    async def client(model: Model, read: str) -> None:
        silent = model.processor.tokenizer.id(Special.USER)  # a token without text: the first piece never comes
        params = SamplingParams(max_tokens=150, logit_bias=((silent, 100),))
        stream = model.stream("hello world", params=params)

        async def wait() -> None:
            await (anext(stream) if read == "anext" else stream.afinish())

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)  # begins to wait
        while not model.stats().running:
            await asyncio.sleep(0)
        assert model.stats().pages_held
        if leave == "cancel":
            waiting.cancel()
        else:
            stream.close()
        await asyncio.gather(waiting, return_exceptions=True)
        stats = model.stats()  # handled between two steps, as the abort before it
        assert (stats.pages_held, stats.running, stats.waiting) == (0, 0, 0)
        assert model.stats().steps_total == stats.steps_total

    engine_args = EngineArgs(enable_prefix_caching=False)
    with phi4mm.load(small_folder, device="cpu", engine=engine, engine_args=engine_args) as model:
        for read in ("anext", "afinish"):
            asyncio.run(asyncio.wait_for(client(model, read), 60))


def test_a_stream_is_closed_at_the_end_of_its_async_with_and_when_its_reader_is(small_folder: Path) -> None:
    """An exception of the body, such as a socket that was closed, must end the answer; so must `aclose` of a reader."""

    async def fail(model: Model) -> None:
        async with model.stream("hello world", params=SamplingParams(max_tokens=150)):
            raise ConnectionResetError

    async def drop(model: Model) -> None:
        stream = model.stream("hello world", params=SamplingParams(max_tokens=150))
        reader = stream.__anext__()
        reader.send(None)  # begins to wait
        reader.close()
        assert not model.stats().busy

    with phi4mm.load(small_folder, device="cpu") as model:
        with pytest.raises(ConnectionResetError):
            asyncio.run(fail(model))
        asyncio.run(drop(model))
        assert not model.stats().busy


def test_usage_reports_cached_tokens_and_media(small_folder: Path) -> None:
    """Users who pay for prompt tokens, or tune a prompt, need to see the cache hits."""
    with phi4mm.load(small_folder, device="cpu", engine_args=EngineArgs(page_size=8)) as model:
        first = model.chat("what is in the image", images=[make_image(0)], params=SHORT)
        again = model.chat("what is in the image", images=[make_image(0)], params=SHORT)
        other = model.chat("red", images=[make_image(0), make_image(1)], params=SHORT)
    assert (first.usage.cached_tokens, first.usage.cached_media) == (0, 0)
    assert again.usage.cached_tokens == (first.usage.prompt_tokens - 1) // 8 * 8
    assert again == first, "cache hits changed the answer"
    assert other.usage.cached_media == 1, "only the first image is in the cache"


def test_a_worker_process_answers_the_same_and_survives_a_kill(small: Model, small_folder: Path) -> None:
    """With media, structured output and alternatives; after a kill, the next request is answered."""
    requests = [
        ChatRequest("what", images=[make_image(0)], params=SHORT),
        ChatRequest("hello world", params=SamplingParams(max_tokens=12, temperature=1.0, seed=3, n=2, stop=("ab",))),
        ChatRequest("hello", audios=[(np.zeros(8000, np.float32), 16000)], params=SHORT),
        ChatRequest("hello", response_format=phi4mm.ResponseFormat(choice=("red", "green")), params=SHORT),
    ]
    with phi4mm.load(small_folder, device="cpu", engine="process") as model:
        assert model.batch(requests) == small.batch(requests)
        assert model.settings.engine_args == small.settings.engine_args or model.settings.engine_args.kv_cache_bytes
        with pytest.raises(InputError, match="192"):
            model.chat("0123456789 " * 200)
        stream = model.stream("hello", params=SamplingParams(max_tokens=100))
        next(stream)
        os.kill(model._client.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="the worker process died"):
            stream.finish()
        assert model.chat("hello world", params=SHORT) == small.chat("hello world", params=SHORT)


def test_a_closed_model_raises_an_error(small_folder: Path) -> None:
    """It must not wait for ever."""
    model = phi4mm.load(small_folder, device="cpu")
    model.close()
    with pytest.raises(EngineError, match="the engine was closed"):
        model.chat("hello")
    with pytest.raises(phi4mm.ConfigError, match="engine is 'threads'; expected one of thread, process, inline"):
        phi4mm.load(small_folder, device="cpu", engine="threads")  # type: ignore[arg-type]


def test_a_program_with_a_half_read_stream_ends_at_once(small_folder: Path) -> None:
    """The engine's thread must end before the interpreter shuts down."""
    import subprocess
    import sys

    code = (
        "import sys, phi4mm\n"
        "model = phi4mm.load(sys.argv[1], device='cpu')\n"
        "stream = model.stream('hello', params=phi4mm.SamplingParams(max_tokens=150))\n"
        "print(bool(next(stream)))\n"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(small_folder)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert time.monotonic() - start < 45

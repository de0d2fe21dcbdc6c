"""Engine clients of all three modes give the same answers, and no caller waits for an answer that never comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from phi4mm.checkpoint.load import load_model
from phi4mm.config.engine import EngineArgs
from phi4mm.engine.client import EngineClient, InlineClient, OutputQueue
from phi4mm.engine.core import Engine
from phi4mm.engine.messages import EngineOutput, EngineRequest
from phi4mm.engine.process_client import ProcessClient
from phi4mm.engine.thread_client import ThreadClient
from phi4mm.engine.worker import Abort, Call
from phi4mm.errors import CapacityError, EngineError, InputError
from phi4mm.protocol.inputs import Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.prompts import clip, make_image, make_prompt

ENGINE_ARGS = EngineArgs(kv_cache_bytes=900_000, page_size=8, max_num_seqs=6, max_num_batched_tokens=60, max_waiting=64)
EXAMPLES = itertools.count()
MODES = ("inline", "thread", "process")


def make_engine(folder: Path, engine_args: EngineArgs = ENGINE_ARGS) -> Engine:
    """Also called in the worker process."""
    torch.set_num_threads(1)
    return Engine(load_model(folder, device="cpu", dtype=torch.float32), eos_ids=(), engine_args=engine_args)


def make_client(mode: str, folder: Path, engine_args: EngineArgs = ENGINE_ARGS) -> EngineClient:
    if mode == "process":
        return ProcessClient(partial(make_engine, folder, engine_args), threads=1)
    return (ThreadClient if mode == "thread" else InlineClient)(make_engine(folder, engine_args))


@pytest.fixture(scope="module")
def clients(rope96_folder: Path) -> Iterator[dict[str, EngineClient]]:
    clients = {mode: make_client(mode, rope96_folder) for mode in MODES}
    yield clients
    for client in clients.values():
        client.close()


def read(queue: OutputQueue, count: int = 1) -> list[list[int]]:
    """The ids of each answer. Raises the error of the request if it failed."""
    answers: list[list[int]] = [[] for _ in range(count)]
    unfinished = set(range(count))
    while unfinished:
        output = queue.get()
        answers[output.index] += output.ids
        if output.error is not None:
            raise output.error
        if output.finish_reason is not None:
            unfinished.discard(output.index)
    return answers


def request(id: str, prompt: Prompt, **params: Any) -> EngineRequest:
    return EngineRequest(id, prompt, SamplingParams(**{"max_tokens": 8, **params}), prompt.adapter)


PROMPTS: dict[str, Callable[[], Prompt]] = {
    "text": lambda: make_prompt("text", [], 40),
    "same beginning": lambda: Prompt((*make_prompt("text", [], 40).ids[:38], 77, 78)),
    "image": lambda: make_prompt("image", [make_image(60, 37)], 3),
    "audio": lambda: make_prompt("audio", [clip(24000)], 11),
    "both": lambda: make_prompt("both", [make_image(60, 37), clip(24000)], 6),
}


def test_requests_and_outputs_can_be_pickled() -> None:
    """A value with a lock, a library's object or a function could not be sent to another process or machine."""
    original = request("r", PROMPTS["both"](), stop=("x",))
    again = pickle.loads(pickle.dumps(replace(original, grammar="start: /a+/")))
    assert (again.id, again.prompt.ids, again.params, again.adapter) == (
        "r",
        original.prompt.ids,
        original.params,
        "vision",
    )
    failed = EngineOutput("r", 1, (3,), finish_reason="error", error=EngineError("x", "r"))
    back = pickle.loads(pickle.dumps(failed))
    assert (back.ids, str(back.error), back.finish_reason) == ((3,), str(failed.error), "error")


# No shrinking: processes are slow, and a failure may depend on timing and not repeat.
@settings(deadline=None, max_examples=8, phases=[Phase.generate])
@given(st.data())
def test_all_modes_give_equal_tokens_on_random_schedules(clients: dict[str, EngineClient], data: st.DataObject) -> None:
    """An answer must not depend on the mode, nor on when other requests arrive or are aborted."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(PROMPTS)), min_size=1, max_size=6))
    # Without top-k, a draw among nearly equal tokens would depend on the last bit, which the batch may change.
    params = [
        {
            "n": data.draw(st.integers(1, 2)),
            "temperature": data.draw(st.sampled_from([0.0, 1.0])),
            "top_k": 20,
            "seed": n,
        }
        for n in range(len(kinds))
    ]
    pauses = [data.draw(st.sampled_from([0.0, 0.0, 0.004])) for _ in kinds]
    aborted = data.draw(st.sets(st.integers(0, len(kinds) - 1), max_size=2))
    answers, example = {}, next(EXAMPLES)
    for mode, client in clients.items():
        queues = []
        for n, (kind, own) in enumerate(zip(kinds, params, strict=True)):
            queues.append(client.submit(request(f"{example} {n}", PROMPTS[kind](), **own)))
            time.sleep(pauses[n])
        for n in aborted:
            client.abort(f"{example} {n}")
        kept = [n for n in range(len(kinds)) if n not in aborted]
        answers[mode] = [read(queues[n], int(params[n]["n"])) for n in kept]
        assert not client.stats().busy
    assert answers["inline"] == answers["thread"] == answers["process"]


@pytest.mark.parametrize("mode", MODES)
def test_impossible_requests_are_refused_in_every_mode(clients: dict[str, EngineClient], mode: str) -> None:
    """The client raises what it can check itself; other errors arrive as an output. The next request is answered."""
    client = clients[mode]
    with pytest.raises(InputError, match="the prompt is empty"):
        client.submit(request("a", Prompt(())))
    with pytest.raises(InputError, match="the model has no mine adapter; it has vision, speech"):
        client.submit(replace(request("a", PROMPTS["text"]()), adapter="mine"))
    with pytest.raises(InputError, match="stop strings need the tokenizer's bytes"):
        read(client.submit(request("a", PROMPTS["text"](), stop=("x",))))
    first = client.submit(request("b", PROMPTS["text"](), max_tokens=60))
    with pytest.raises(InputError, match="request id b is running already"):
        client.submit(request("b", PROMPTS["text"]()))
    client.abort("b")
    while (output := first.get()).finish_reason is None:
        pass
    assert output.finish_reason == "abort"
    assert len(read(client.submit(request("c", PROMPTS["text"]())))[0]) == 8


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_full_queue_refuses_requests_until_it_empties(rope96_folder: Path, mode: str) -> None:
    """A request that was refused because the queue was full must succeed later."""
    client = make_client(mode, rope96_folder, replace(ENGINE_ARGS, max_waiting=2, max_num_seqs=1))
    queues = [client.submit(request(f"{n}", PROMPTS["text"](), max_tokens=30)) for n in range(9)]
    refused = 0
    for queue in queues:
        try:
            read(queue)
        except CapacityError:
            refused += 1
    assert 1 <= refused <= 7
    assert len(read(client.submit(request("again", PROMPTS["text"]())))[0]) == 8
    client.close()


def test_requests_from_many_threads_and_tasks_get_the_answers_they_get_alone(clients: dict[str, EngineClient]) -> None:
    """All threads and event loops share the queues of one client."""
    client = clients["thread"]
    kinds = sorted(PROMPTS)
    alone = {kind: read(client.submit(request(f"alone {kind}", PROMPTS[kind]())))[0] for kind in kinds}

    def ask(n: int) -> bool:
        kind = kinds[n % len(kinds)]
        return read(client.submit(request(f"thread {n}", PROMPTS[kind]())))[0] == alone[kind]

    async def ask_async(n: int) -> bool:
        kind = kinds[n % len(kinds)]
        queue = client.submit(request(f"task {n}", PROMPTS[kind]()))
        ids: list[int] = []
        while True:
            output = await queue.aget()
            ids += output.ids
            if output.finish_reason is not None:
                return ids == alone[kind]

    async def ask_all() -> list[bool]:
        return await asyncio.gather(*(ask_async(n) for n in range(30)))

    with ThreadPoolExecutor(8) as pool:
        threads = [pool.submit(ask, n) for n in range(24)]
        assert all(asyncio.run(ask_all()))
        assert all(thread.result() for thread in threads)


def test_an_error_of_the_forward_pass_ends_only_the_requests_of_the_step(
    rope96_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an exception ended the engine's thread, all requests would wait for ever."""
    engine = make_engine(rope96_folder)
    client = ThreadClient(engine)
    run = engine._runner.run
    monkeypatch.setattr(engine._runner, "run", lambda plan: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(EngineError, match="request bad: a step failed: RuntimeError: out of memory"):
        read(client.submit(request("bad", PROMPTS["text"]())))
    monkeypatch.setattr(engine._runner, "run", run)
    assert len(read(client.submit(request("good", PROMPTS["text"]())))[0]) == 8
    stats = client.stats()
    assert (stats.pages_held, stats.encoder_held, stats.busy) == (0, 0, False)
    client.close()


def test_an_engine_whose_scheduler_fails_ends_all_requests(
    rope96_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every waiting caller would wait for ever."""
    engine = make_engine(rope96_folder)
    client = ThreadClient(engine)
    monkeypatch.setattr(engine._scheduler, "plan", lambda: (_ for _ in ()).throw(AssertionError("lost count")))
    with pytest.raises(EngineError, match="the engine failed: AssertionError: lost count"):
        read(client.submit(request("a", PROMPTS["text"]())))
    with pytest.raises(EngineError, match="the engine failed"):
        client.submit(request("b", PROMPTS["text"]()))
    with pytest.raises(EngineError, match="the engine failed"):
        client.stats()


@pytest.mark.parametrize("mode", MODES)
def test_closing_ends_running_requests(rope96_folder: Path, mode: str) -> None:
    """No caller may wait for a closed engine."""
    client = make_client(mode, rope96_folder)
    queue = client.submit(request("a", PROMPTS["text"](), max_tokens=100))
    queue.get()
    client.close()
    client.close()
    with pytest.raises(EngineError, match="the engine was closed"):
        read(queue)
    with pytest.raises(EngineError, match="the engine was closed"):
        client.submit(request("b", PROMPTS["text"]()))


def test_the_engine_thread_ends_when_its_client_is_deleted(rope96_folder: Path) -> None:
    """A program that loads a model in a loop must not keep an engine of each iteration."""

    def engines() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "phi4mm-engine"]

    before = len(engines())
    client = make_client("thread", rope96_folder)
    assert len(read(client.submit(request("a", PROMPTS["text"]())))[0]) == 8
    assert len(engines()) == before + 1
    del client
    gc.collect()
    assert len(engines()) == before


def test_a_killed_worker_fails_its_20_requests_by_id_and_a_new_one_answers(rope96_folder: Path) -> None:
    """Each running request ends with an error that names it, and the next request is answered."""
    client = make_client("process", rope96_folder)
    assert isinstance(client, ProcessClient)
    alone = read(client.submit(request("alone", PROMPTS["both"]())))
    kinds = sorted(PROMPTS)
    queues = {f"s{n}": client.submit(request(f"s{n}", PROMPTS[kinds[n % 5]](), max_tokens=80)) for n in range(20)}
    queues["s0"].get()
    first = client.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    for id, queue in queues.items():
        with pytest.raises(EngineError, match=rf"request {id}: the worker process died \(signal 9\)"):
            read(queue)
    assert read(client.submit(request("after", PROMPTS["both"]()))) == alone
    assert client.pid != first
    client.close()
    assert client.pid is None


def test_a_worker_ends_when_its_client_is_deleted(rope96_folder: Path) -> None:
    """However a program ends, it must not leave a process with gigabytes of weights running."""
    client = make_client("process", rope96_folder)
    assert isinstance(client, ProcessClient)
    process = client._workers[0].process
    del client
    gc.collect()
    process.wait(20)


def test_a_worker_that_cannot_load_raises_the_original_error(tmp_path: Path) -> None:
    """And is not started again: another try would find the same wrong folder."""
    with pytest.raises(Exception, match=r"config\.json not found"):
        ProcessClient(partial(make_engine, tmp_path))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_that_deletes_the_client_does_not_stop_the_worker(clients: dict[str, EngineClient]) -> None:
    """It closed the shared connection: the parent's requests and its worker ended."""
    client = clients["process"]
    assert isinstance(client, ProcessClient)
    running = client.submit(request("parent's", PROMPTS["text"](), max_tokens=60))
    pid = client.pid
    assert _run_forked(lambda: client._finalizer()) == "no error"
    assert len(read(running)[0]) == 60
    assert client.pid == pid


def test_an_abort_from_the_garbage_collector_never_waits_for_a_sender(clients: dict[str, EngineClient]) -> None:
    """A stream in a reference cycle may be collected inside a send, which held the lock that the abort needed."""
    client = clients["process"]
    client.submit(request("dropped", PROMPTS["text"](), max_tokens=100))

    class Dropped(int):
        def __reduce__(self) -> tuple[type[int], tuple[int]]:
            client.abort("dropped")  # as a finalizer may do while a message is pickled
            return int, (7,)

    big = make_prompt("dropped big", [make_image(448, 448)], 3)
    after = request("big after dropped", replace(big, ids=(*big.ids[:-1], Dropped())))
    object.__setattr__(after.prompt, "ids", tuple(after.prompt.ids))
    assert len(read(client.submit(after))[0]) == 8
    assert not client.stats().busy


def test_an_abort_that_an_output_overtakes_still_ends_the_request(
    clients: dict[str, EngineClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id was forgotten as that of an ended request, the abort never sent, and the request ran on to its end."""
    client = clients["process"]
    assert isinstance(client, ProcessClient)
    write = client._write

    def late(message: EngineRequest | Abort | Call) -> None:
        if isinstance(message, Abort):
            time.sleep(0.05)  # some outputs come meanwhile
        write(message)

    monkeypatch.setattr(client, "_write", late)
    queue = client.submit(request("overtaken", PROMPTS["text"](), max_tokens=300))
    queue.get()
    client.abort("overtaken")
    assert not client.stats().busy


def test_many_large_requests_are_sent_without_waiting_for_a_step(clients: dict[str, EngineClient]) -> None:
    """An event loop that submits must not be blocked while the worker computes."""
    client = clients["process"]
    begun = [client.submit(request(f"long {n}", PROMPTS["both"](), max_tokens=40)) for n in range(4)]
    start = time.perf_counter()
    more = [client.submit(request(f"more {n}", Prompt(tuple(range(100, 500))))) for n in range(30)]
    assert time.perf_counter() - start < 0.5
    for queue in begun:
        read(queue)
    for n, _ in enumerate(more):
        client.abort(f"more {n}")
    assert not client.stats().busy


def test_a_message_that_cannot_be_sent_fails_alone(
    clients: dict[str, EngineClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message that could not be pickled, or got no file descriptor, ended the thread that sends."""
    client = clients["process"]
    with pytest.raises(EngineError, match="it could not be sent to the worker: TypeError"):
        client._call("stats", threading.Lock())
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", lambda name: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        with pytest.raises(EngineError, match="request no room: it could not be sent to the worker: OSError"):
            read(client.submit(request("no room", PROMPTS["image"]())))
    assert len(read(client.submit(request("room again", PROMPTS["image"]())))[0]) == 8


def test_a_worker_that_cannot_read_a_message_is_replaced(rope96_folder: Path) -> None:
    """It went on without receiving messages, for ever."""
    client = make_client("process", rope96_folder)
    assert isinstance(client, ProcessClient)
    first = client.pid
    client._workers[0].transport._socket.sendall((4).to_bytes(8, "little") + bytes(8) + b"junk")
    _wait_for_another(client, first)
    assert len(read(client.submit(request("next", PROMPTS["text"]())))[0]) == 8
    client.close()


def test_a_worker_that_dies_while_it_loads_is_started_again(rope96_folder: Path, tmp_path: Path) -> None:
    """The second of three allowed deaths closed the client."""
    client = ProcessClient(partial(make_engine_or_die, rope96_folder, tmp_path / "die"), threads=1)
    first = client.pid
    assert first is not None
    (tmp_path / "die").touch()
    os.kill(first, signal.SIGKILL)
    _wait_for_another(client, first)
    assert len(read(client.submit(request("next", PROMPTS["text"]())))[0]) == 8
    client.close()


def _wait_for_another(client: ProcessClient, first: int | None) -> None:
    deadline = time.monotonic() + 60
    while client.pid in (first, None):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make_engine_or_die(folder: Path, trigger: Path) -> Engine:
    """Dies once, if the file `trigger` exists, and deletes it."""
    if trigger.exists():
        trigger.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return make_engine(folder)


def test_no_call_waits_for_a_client_that_is_closed_at_the_same_time(rope96_folder: Path) -> None:
    """A call that was queued after the engine's thread had ended waited for ever."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(25):
            client = ThreadClient(make_engine(rope96_folder))

            def ask(client: EngineClient = client) -> None:
                with contextlib.suppress(EngineError):
                    while True:
                        client.stats()

            threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
            client.close()
            for thread in threads:
                thread.join(20)
                assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)


def test_a_closed_event_loop_does_not_end_the_engine(clients: dict[str, EngineClient]) -> None:
    """Waking its reader raised an error in the engine's thread."""
    loop = asyncio.new_event_loop()
    queue = clients["thread"].submit(request("closed loop", PROMPTS["text"]()))
    loop.close()
    queue._waiter = (loop, asyncio.Event())
    assert len(read(queue)[0]) == 8
    assert len(read(clients["thread"].submit(request("after closed loop", PROMPTS["text"]())))[0]) == 8


def test_a_request_id_like_another_requests_answer_id_is_told_apart(clients: dict[str, EngineClient]) -> None:
    """The engine called answer 0 of `a` `a/0`, and mixed it up with a request of that id."""
    client = clients["inline"]
    alone = [read(client.submit(request(f"alone {kind}", PROMPTS[kind]())))[0] for kind in ("text", "audio")]
    both = [client.submit(request("a", PROMPTS["text"](), n=2)), client.submit(request("a/0", PROMPTS["audio"]()))]
    assert read(both[0], 2) == [alone[0]] * 2
    assert read(both[1]) == [alone[1]]


def test_the_worker_imports_nothing_from_the_working_folder(
    rope96_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file torch.py in a folder of untrusted files must not be run."""
    (tmp_path / "torch.py").write_text("raise SystemExit('untrusted code')")
    monkeypatch.chdir(tmp_path)
    client = make_client("process", rope96_folder)
    assert len(read(client.submit(request("a", PROMPTS["text"]())))[0]) == 8
    client.close()


def test_large_media_are_sent_through_shared_memory(clients: dict[str, EngineClient]) -> None:
    """Arrays in the worker are views of memory that both processes map; the answer must be the same."""
    big = make_prompt("big", [make_image(448 * 2, 448)], 3)
    assert read(clients["process"].submit(request("big", big))) == read(clients["inline"].submit(request("big", big)))


def _run_forked(work: Callable[[], object]) -> str:
    """The text of what `work` raises in a forked child, or "hangs" after 20 seconds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writing, b"no error")
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + 20
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hangs"
        time.sleep(0.01)
    return os.read(reading, 10_000).decode()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_case_b14_a_forked_child_is_told_to_spawn(clients: dict[str, EngineClient], mode: str) -> None:
    """Case B14: threads do not survive a fork, so chat in the child waited for ever."""
    client = clients[mode]
    read(client.submit(request("first", PROMPTS["text"]())))
    running = client.submit(request("begun", PROMPTS["text"]()))
    assert _run_forked(lambda: read(running)).startswith("EngineError: request begun: this process was forked")
    assert len(read(running)[0]) == 8
    message = _run_forked(lambda: read(client.submit(request("child", PROMPTS["text"]()))))
    assert message.startswith("EngineError: request child: this process was forked")
    assert '"spawn"' in message
    assert len(read(client.submit(request("parent goes on", PROMPTS["text"]())))[0]) == 8

"""The scheduler with a simulated model, whose keys are hashes, that checks every page it reads."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.config.engine import EngineArgs
from phi4mm.engine.encoder_cache import EncoderCache
from phi4mm.engine.kv_pages import PagePool
from phi4mm.engine.request import Request, Sampled, State
from phi4mm.engine.scheduler import ScheduledChunk, Scheduler
from phi4mm.errors import CapacityError
from phi4mm.protocol.inputs import AudioFrames, MediaSpan, Prompt
from phi4mm.protocol.sampling import SamplingParams

EOS = (7, 9)
FRAMES = AudioFrames(np.zeros((8, 80), np.float32), 0.1)


@dataclass
class Simulation:
    """A scheduler and a model whose keys are hashes of everything that they must depend on."""

    pages: int = 1000
    engine_args: EngineArgs = field(default_factory=lambda: EngineArgs(page_size=4))
    switch: int = 10**6
    context: int = 10**6
    eos: tuple[int, ...] = ()
    vocabulary: int = 97
    proposed: int = 0

    def __post_init__(self) -> None:
        self.pool = PagePool(self.pages)
        self.media: EncoderCache[str] = EncoderCache(self.pages * self.engine_args.page_size)
        self.scheduler = Scheduler(
            self.pool, self.media, self.engine_args, switch=self.switch, context=self.context, eos_ids=self.eos
        )
        self.requests: list[Request] = []
        self.slots: dict[tuple[int, int], tuple[int, bool]] = {}
        self.steps = 0
        self.ids = itertools.count()

    def add(
        self,
        length: int,
        *,
        tokens: int = 4,
        prompt: Prompt | None = None,
        adapter: str | None = None,
        version: int = 0,
    ) -> Request:
        prompt = prompt or Prompt(tuple(range(100, 100 + length)))
        params = SamplingParams(max_tokens=tokens)
        request = Request(f"r{next(self.ids)}", prompt, params, adapter or prompt.adapter, version)
        self.scheduler.add(request)
        self.requests.append(request)
        return request

    def step(self) -> tuple[ScheduledChunk, ...]:
        plan = self.scheduler.plan()
        assert plan or not self.scheduler.busy, "requests wait but nothing can run"
        self.check(plan)
        results = [self.run(chunk) for chunk in plan]
        self.scheduler.commit(plan, results)
        self.check_pages()
        self.steps += bool(plan)
        return plan

    def check(self, plan: tuple[ScheduledChunk, ...]) -> None:
        assert sum(chunk.tokens for chunk in plan) <= self.engine_args.max_num_batched_tokens
        assert len({chunk.request.id for chunk in plan}) == len(plan) <= self.engine_args.max_num_seqs
        encoded = [chunk for chunk in plan if chunk.encode is not None]
        assert len(encoded) <= 1, "decoding sequences would wait for several media items"
        for chunk in encoded:
            assert chunk.encode is not None
            self.media.store(chunk.request.media_key(chunk.encode), "output")

    def run(self, chunk: ScheduledChunk) -> list[Sampled]:
        """Writes the keys of the chunk and its proposed tokens, and checks all keys before it samples."""
        request, size = chunk.request, self.engine_args.page_size
        assert chunk.start == request.cached < chunk.end <= request.length
        assert chunk.samples or not chunk.proposed
        hashes = keys(request.prompt, [*request.tokens(0, request.length), *chunk.proposed], request.adapter)
        for n in range(chunk.start, chunk.end + len(chunk.proposed)):
            self.slots[request.pages[n // size], n % size] = hashes[n], request.long_rope
        for span in request.prompt.spans:
            if span.start < chunk.end and chunk.start < span.start + span.length:
                self.media.get(request.media_key(span))
        if not chunk.samples:
            return []
        assert request.long_rope == (len(hashes) > self.switch)
        for n, key in enumerate(hashes):
            assert self.slots[request.pages[n // size], n % size] == (key, request.long_rope), f"token {n}"
        self.proposed += len(chunk.proposed)
        drawn: list[Sampled] = []
        for key, proposed in zip(hashes[chunk.end - 1 :], (*chunk.proposed, None), strict=True):
            drawn.append(Sampled(draw(key, self.vocabulary)))
            if drawn[-1].token != proposed:
                break
        return drawn

    def check_pages(self) -> None:
        assert self.pool.free + self.pool.held + self.pool.cached == self.pages
        assert self.media.used <= self.media.capacity

    def finish(self) -> None:
        while self.scheduler.busy:
            self.step()
        assert (self.pool.held, self.media.held) == (0, 0)


def keys(prompt: Prompt, ids: list[int], adapter: str | None) -> list[int]:
    """What the key of each token depends on: adapter, all tokens up to it, and the media embeddings among them."""
    hashes: list[int] = []
    before: object = adapter
    for n, token in enumerate(ids):
        inside = [
            (s.digest, n - s.start, s.kind == "audio" and prompt.audio_projection)
            for s in prompt.spans
            if s.start <= n < s.start + s.length
        ]
        before = key = zlib.crc32(repr((before, token, inside)).encode())
        hashes.append(key)
    return hashes


def draw(key: int, vocabulary: int = 97) -> int:
    return key % vocabulary


def alone(
    prompt: Prompt,
    tokens: int,
    context: int,
    eos: tuple[int, ...] = (),
    vocabulary: int = 97,
    adapter: str | None = "auto",
) -> list[int]:
    """The expected answer, computed without an engine."""
    answer: list[int] = []
    adapter = prompt.adapter if adapter == "auto" else adapter
    while len(answer) < tokens and len(prompt.ids) + len(answer) < context and (not answer or answer[-1] not in eos):
        answer.append(draw(keys(prompt, [*prompt.ids, *answer], adapter)[-1], vocabulary))
    return answer


def test_decoding_comes_first_then_prompts_in_chunks_in_order_of_arrival() -> None:
    """A long prompt must neither stop the decoding sequences nor be overtaken by later prompts."""
    simulation = Simulation(engine_args=EngineArgs(page_size=4, max_num_seqs=8, max_num_batched_tokens=12))
    first = simulation.add(5, tokens=50, prompt=Prompt((50,) * 5))
    simulation.step()
    second, third = simulation.add(30), simulation.add(8, prompt=Prompt((60,) * 8))
    shares = [[(chunk.request, chunk.end - chunk.start) for chunk in simulation.step()] for _ in range(4)]
    assert shares[:2] == [[(first, 1), (second, 11)]] * 2
    assert shares[2] == [(first, 1), (second, 8), (third, 3)]
    assert shares[3] == [(first, 1), (second, 1), (third, 5)]


def test_at_most_max_num_seqs_sequences_run() -> None:
    """The others wait until a running sequence ends."""
    simulation = Simulation(engine_args=EngineArgs(page_size=4, max_num_seqs=3, max_num_batched_tokens=100))
    requests = [simulation.add(n, tokens=1) for n in range(2, 7)]
    assert [chunk.request for chunk in simulation.step()] == requests[:3]
    assert [chunk.request for chunk in simulation.step()] == requests[3:]


def test_every_eos_id_ends_an_answer_and_others_do_not() -> None:
    """Stopping on one id alone makes answers run past the end of the turn."""
    simulation = Simulation(eos=EOS)
    for n in range(3):
        simulation.add(2 + n)
    plan = simulation.scheduler.plan()
    outputs = simulation.scheduler.commit(plan, [[Sampled(7)], [Sampled(8)], [Sampled(9)]])
    assert [output.finish_reason for output in outputs] == ["stop", None, "stop"]


def test_a_sequence_that_passes_the_longrope_switch_is_prefilled_again_once() -> None:
    """Its keys were rotated with the short factors; later steps use the new keys."""
    simulation = Simulation(switch=10)
    request = simulation.add(9, prompt=Prompt((1,) * 9))
    steps = []
    for _ in range(4):
        plan = simulation.scheduler.plan()
        steps.append((plan[0].start, plan[0].end, request.long_rope))
        simulation.scheduler.commit(plan, [[Sampled(1)]])
    assert steps == [(0, 9, False), (9, 10, False), (0, 11, True), (11, 12, True)]


def test_others_go_on_while_a_sequence_past_the_switch_is_prefilled_again() -> None:
    """Thousands of tokens in one step would stop all other sequences for seconds."""
    simulation = Simulation(switch=20, engine_args=EngineArgs(page_size=4, max_num_seqs=4, max_num_batched_tokens=9))
    short, crossing = simulation.add(3, tokens=60), simulation.add(19, tokens=60)
    while not crossing.long_rope:
        simulation.step()
    answered = len(short.answer)
    while crossing.length - crossing.cached > 1:
        simulation.step()
    assert len(short.answer) >= answered + 2
    assert crossing.long_rope


def test_the_context_ends_an_answer() -> None:
    """A sequence must not grow beyond the context of the model."""
    simulation = Simulation(context=12)
    request = simulation.add(10, tokens=100)
    simulation.finish()
    assert (request.finish_reason, request.length) == ("length", 12)


def test_the_youngest_sequence_is_preempted_and_resumes_before_later_requests() -> None:
    """If the oldest were preempted, or the preempted one queued last, it might never finish."""
    simulation = Simulation(pages=6, engine_args=EngineArgs(page_size=4, max_num_seqs=4, max_num_batched_tokens=100))
    # Different tokens, because sequences that share pages would fit.
    old, young = (
        simulation.add(8, tokens=9, prompt=Prompt((1,) * 8)),
        simulation.add(9, tokens=8, prompt=Prompt((2,) * 9)),
    )
    simulation.step()
    waiting = simulation.add(8, tokens=1, prompt=Prompt((3,) * 8))
    while young.state is State.RUNNING:
        simulation.step()
    assert (old.state, young.state) == (State.RUNNING, State.WAITING)
    kept = list(young.answer)
    assert kept, "it was preempted before its first token"
    while young.state is State.WAITING:
        simulation.step()
    assert waiting.state is State.WAITING, "a later request ran first"
    simulation.finish()
    assert young.answer[: len(kept)] == kept
    for request, tokens in ((old, 9), (young, 8), (waiting, 1)):
        assert request.answer == alone(request.prompt, tokens, 10**6)


def test_a_request_beyond_max_waiting_is_refused() -> None:
    """A queue without a limit takes memory without a limit."""
    simulation = Simulation(pages=4, engine_args=EngineArgs(page_size=4, max_waiting=2))
    simulation.add(10, tokens=7)
    simulation.add(2)
    with pytest.raises(CapacityError, match="2 requests wait; expected fewer than 2"):
        simulation.add(2)
    simulation.finish()


def test_a_second_answer_waits_for_the_first_ones_pages_and_shares_them() -> None:
    """Otherwise two answers to one prompt would compute and store its keys twice."""
    simulation = Simulation()
    first = simulation.add(41, tokens=20)
    second = simulation.add(41, tokens=20)
    simulation.step()
    assert second.state is State.WAITING
    plan = simulation.step()
    assert [(chunk.request, chunk.start, chunk.end) for chunk in plan] == [(first, 41, 42), (second, 40, 41)]
    assert second.pages[:10] == first.pages[:10]
    simulation.scheduler.finish(first, "abort")
    simulation.finish()
    assert second.answer == alone(second.prompt, 20, 10**6)


def test_requests_are_admitted_one_by_one_while_the_step_has_room() -> None:
    """Admitted all at once, each took pages for its whole prompt and looked up a prefix that was not cached yet."""
    simulation = Simulation(engine_args=EngineArgs(page_size=16, max_num_batched_tokens=64, max_num_seqs=8))
    prefix = tuple(range(1000, 1320))
    for own in range(4):
        simulation.add(321, prompt=Prompt((*prefix, own)))
    first = simulation.step()
    assert [chunk.tokens for chunk in first] == [64]
    assert simulation.pool.held == 21, "pages of more than one prompt are held"
    run = 64
    while any(request.state is State.WAITING for request in simulation.requests):
        run += sum(chunk.end - chunk.start for chunk in simulation.step() if chunk.start < 321)
    simulation.finish()
    assert run == 324
    assert [request.prefix_hit for request in simulation.requests] == [0, 320, 320, 320]


@pytest.mark.parametrize("room", [64, 400, 2000])
def test_a_common_prefix_is_computed_once_for_any_number_of_tokens_in_a_step(room: int) -> None:
    """Like several questions about one document: in a step with room for all, each would compute it."""
    simulation = Simulation(engine_args=EngineArgs(page_size=16, max_num_batched_tokens=room, max_num_seqs=12))
    media = (MediaSpan("image", 40, 30, b"i" * 32, FRAMES),)
    prefix = tuple(range(1000, 1320))
    same_prefix = [simulation.add(321, prompt=Prompt((*prefix, own), media)) for own in range(4)]
    shorter = simulation.add(200, prompt=Prompt((*prefix[:160], *(7,) * 40), media))
    others = [
        simulation.add(321, prompt=Prompt((*prefix, 9)), adapter="vision"),  # without the image
        simulation.add(321, prompt=Prompt((*prefix, 9), media), adapter="mine"),
        simulation.add(321, prompt=Prompt((*prefix, 9), media), adapter="mine", version=1),
    ]
    run: dict[str, int] = {}
    while simulation.scheduler.busy:
        for chunk in simulation.step():
            prompt = len(chunk.request.prompt.ids)
            run[chunk.request.id] = run.get(chunk.request.id, 0) + max(min(chunk.end, prompt) - chunk.start, 0)
    assert [run[request.id] for request in same_prefix] == [321, 1, 1, 1]
    assert run[shorter.id] == 40
    assert [run[request.id] for request in others] == [321 - 32, 321, 321], (
        "the first shares the pages before the image"
    )
    for request in (*same_prefix, shorter, *others):
        assert request.answer == alone(request.prompt, 4, 10**6, adapter=request.adapter)


def test_a_request_that_waits_for_a_page_does_not_hold_up_others() -> None:
    """It waits for one step only, and runs by itself when the request that it waited for is aborted."""
    simulation = Simulation(engine_args=EngineArgs(page_size=16, max_num_batched_tokens=400, max_num_seqs=8))
    prefix = tuple(range(1000, 1320))
    first, second = (simulation.add(321, prompt=Prompt((*prefix, own))) for own in range(2))
    other = simulation.add(20, prompt=Prompt((5,) * 20))
    assert [chunk.request for chunk in simulation.step()] == [first, other]
    simulation.scheduler.finish(first, "abort")
    assert second in [chunk.request for chunk in simulation.step()]
    simulation.finish()
    assert second.answer == alone(second.prompt, 4, 10**6)


def test_one_media_item_is_encoded_in_a_step_and_prefill_stops_before_the_next() -> None:
    """Several images in one step would stop the decoding sequences until all are encoded."""
    spans = tuple(MediaSpan("audio", start, 3, bytes([start]) * 32, FRAMES) for start in (1, 6))
    simulation = Simulation()
    answering = simulation.add(2, tokens=50)
    simulation.step()
    with_audio = simulation.add(12, prompt=Prompt((5,) * 12, spans))
    plans = [simulation.step() for _ in range(2)]
    assert [[(c.request, c.start, c.end) for c in plan] for plan in plans] == [
        [(answering, 2, 3), (with_audio, 0, 6)],
        [(answering, 3, 4), (with_audio, 6, 12)],
    ]
    again = simulation.add(12, prompt=Prompt((6,) * 12, spans))
    assert [(c.request, c.start, c.end, c.encode) for c in simulation.step()][-1] == (again, 0, 12, None)


@st.composite
def prompts(strategy: st.DrawFn) -> Prompt:
    """Few distinct tokens, so that prefixes are equal; few media items, the same one as image and as audio."""
    ids, spans = [], []
    for _ in range(strategy(st.integers(1, 6))):
        piece = strategy(st.sampled_from(["words", "words", "image", "audio"]))
        if piece == "words":
            ids += [strategy(st.integers(1, 2))] * strategy(st.integers(1, 6))
        else:
            digest, length = strategy(st.sampled_from([(b"a" * 32, 5), (b"b" * 32, 5), (b"c" * 32, 2)]))
            spans.append(MediaSpan("image" if piece == "image" else "audio", len(ids), length, digest, FRAMES))
            ids += [90 if piece == "image" else 91] * length
    return Prompt(tuple(ids), tuple(spans))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_every_schedule_gives_each_request_the_answer_it_has_alone(data: st.DataObject) -> None:
    """Random arrivals, chunks, shared pages, preemption, LongRoPE switch, aborts: all pages must be right."""
    engine_args = EngineArgs(
        page_size=data.draw(st.integers(1, 5)),
        max_num_seqs=data.draw(st.integers(1, 5)),
        max_num_batched_tokens=data.draw(st.integers(6, 25)),
        enable_prefix_caching=data.draw(st.booleans()),
        num_speculative_tokens=data.draw(st.integers(0, 5)),
    )
    vocabulary = data.draw(st.sampled_from([97, 3, 1]))  # with few tokens, text repeats itself and tokens are proposed
    switch = data.draw(st.integers(5, 60))
    simulation = Simulation(
        -(-66 // engine_args.page_size), engine_args, switch, context=60, eos=EOS, vocabulary=vocabulary
    )
    requests: list[tuple[Request, int]] = []
    aborted: set[str] = set()
    work = 0
    for n in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(0, 6))):
            simulation.step()
        prompt, tokens = data.draw(prompts()), data.draw(st.integers(1, 30))
        request = Request(f"r{n}", prompt, SamplingParams(max_tokens=tokens), prompt.adapter)
        simulation.scheduler.add(request)
        requests.append((request, tokens))
        work += 3 * (len(prompt.ids) + tokens) + 2 * len(prompt.spans)
        if data.draw(st.integers(0, 4)) == 0:
            stopped = data.draw(st.sampled_from(requests))[0]
            if stopped.state is not State.FINISHED:
                simulation.scheduler.finish(stopped, "abort")
                aborted.add(stopped.id)
                simulation.check_pages()
    simulation.finish()
    assert simulation.steps <= work, "the oldest sequence did not advance in every step"
    for request, tokens in requests:
        expected = alone(request.prompt, tokens, 60, EOS, vocabulary)
        if request.id in aborted:
            assert request.answer == expected[: len(request.answer)]
        else:
            assert request.answer == expected
            assert request.finish_reason == ("stop" if expected[-1] in EOS else "length")

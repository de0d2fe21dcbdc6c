"""Who runs when, over a model made of hashes that checks every page it reads."""

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
class Bench:
    """A scheduler and a model whose keys are hashes of all that they should depend on."""

    pages: int = 1000
    engine_args: EngineArgs = field(default_factory=lambda: EngineArgs(page_size=4))
    switch: int = 10**6
    context: int = 10**6
    eos: tuple[int, ...] = ()
    vocabulary: int = 97
    proposed_tokens: int = 0

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
        given = prompt or Prompt(tuple(range(100, 100 + length)))
        params = SamplingParams(max_tokens=tokens)
        request = Request(f"r{next(self.ids)}", given, params, adapter or given.adapter, version)
        self.scheduler.add(request)
        self.requests.append(request)
        return request

    def step(self) -> tuple[ScheduledChunk, ...]:
        plan = self.scheduler.plan()
        assert plan or not self.scheduler.busy, "requests wait and nothing can run"
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
        assert len(encoded) <= 1, "answers would wait for several media"
        for chunk in encoded:
            assert chunk.encode is not None
            self.media.store(chunk.request.media_key(chunk.encode), "sequences")

    def run(self, chunk: ScheduledChunk) -> list[Sampled]:
        """Writes the keys of the chunk and its proposed tokens, and reads all keys of the sequence before it draws."""
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
        self.proposed_tokens += len(chunk.proposed)
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
    found: list[int] = []
    before: object = adapter
    for n, token in enumerate(ids):
        inside = [
            (s.digest, n - s.start, s.kind == "audio" and prompt.audio_projection)
            for s in prompt.spans
            if s.start <= n < s.start + s.length
        ]
        before = key = zlib.crc32(repr((before, token, inside)).encode())
        found.append(key)
    return found


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
    """The answer by definition, without any engine."""
    answer: list[int] = []
    adapter = prompt.adapter if adapter == "auto" else adapter
    while len(answer) < tokens and len(prompt.ids) + len(answer) < context and (not answer or answer[-1] not in eos):
        answer.append(draw(keys(prompt, [*prompt.ids, *answer], adapter)[-1], vocabulary))
    return answer


def test_answers_come_first_then_prompts_in_order_of_arrival_in_chunks() -> None:
    """A long prompt must neither stop the answers that run nor be overtaken by later ones."""
    bench = Bench(engine_args=EngineArgs(page_size=4, max_num_seqs=8, max_num_batched_tokens=12))
    first = bench.add(5, tokens=50, prompt=Prompt((50,) * 5))
    bench.step()
    second, third = bench.add(30), bench.add(8, prompt=Prompt((60,) * 8))
    shares = [[(chunk.request, chunk.end - chunk.start) for chunk in bench.step()] for _ in range(4)]
    assert shares[:2] == [[(first, 1), (second, 11)]] * 2
    assert shares[2] == [(first, 1), (second, 8), (third, 3)]
    assert shares[3] == [(first, 1), (second, 1), (third, 5)]


def test_no_more_sequences_run_than_allowed() -> None:
    """The rest waits, and takes the places that become free."""
    bench = Bench(engine_args=EngineArgs(page_size=4, max_num_seqs=3, max_num_batched_tokens=100))
    requests = [bench.add(n, tokens=1) for n in range(2, 7)]
    assert [chunk.request for chunk in bench.step()] == requests[:3]
    assert [chunk.request for chunk in bench.step()] == requests[3:]


def test_every_eos_id_ends_an_answer_and_others_do_not() -> None:
    """Stopping on one id alone makes answers run past the end of the turn."""
    bench = Bench(eos=EOS)
    for n in range(3):
        bench.add(2 + n)
    plan = bench.scheduler.plan()
    outputs = bench.scheduler.commit(plan, [[Sampled(7)], [Sampled(8)], [Sampled(9)]])
    assert [output.finish_reason for output in outputs] == ["stop", None, "stop"]


def test_a_sequence_that_passes_the_switch_begins_again_at_token_0_once() -> None:
    """Its keys were rotated by the short table; later steps go on from the new cache."""
    bench = Bench(switch=10)
    request = bench.add(9, prompt=Prompt((1,) * 9))
    seen = []
    for _ in range(4):
        plan = bench.scheduler.plan()
        seen.append((plan[0].start, plan[0].end, request.long_rope))
        bench.scheduler.commit(plan, [[Sampled(1)]])
    assert seen == [(0, 9, False), (9, 10, False), (0, 11, True), (11, 12, True)]


def test_others_go_on_while_a_sequence_past_the_switch_is_prefilled_again() -> None:
    """Thousands of tokens in one step would stop everyone for seconds."""
    bench = Bench(switch=20, engine_args=EngineArgs(page_size=4, max_num_seqs=4, max_num_batched_tokens=9))
    short, crossing = bench.add(3, tokens=60), bench.add(19, tokens=60)
    while not crossing.long_rope:
        bench.step()
    begun = len(short.answer)
    while crossing.length - crossing.cached > 1:
        bench.step()
    assert len(short.answer) >= begun + 2
    assert crossing.long_rope


def test_the_context_ends_an_answer() -> None:
    """A sequence must not grow past what the model was made for."""
    bench = Bench(context=12)
    request = bench.add(10, tokens=100)
    bench.finish()
    assert (request.finish_reason, request.length) == ("length", 12)


def test_the_youngest_gives_up_its_pages_and_comes_back_before_later_ones() -> None:
    """Were the oldest preempted, or put behind the queue, it might never end."""
    bench = Bench(pages=6, engine_args=EngineArgs(page_size=4, max_num_seqs=4, max_num_batched_tokens=100))
    # Of different tokens each: sequences that share pages would fit.
    old, young = bench.add(8, tokens=9, prompt=Prompt((1,) * 8)), bench.add(9, tokens=8, prompt=Prompt((2,) * 9))
    bench.step()
    waiting = bench.add(8, tokens=1, prompt=Prompt((3,) * 8))
    while young.state is State.RUNNING:
        bench.step()
    assert (old.state, young.state) == (State.RUNNING, State.WAITING)
    kept = list(young.answer)
    assert kept, "it had answered already"
    while young.state is State.WAITING:
        bench.step()
    assert waiting.state is State.WAITING, "it came later"
    bench.finish()
    assert young.answer[: len(kept)] == kept
    for request, tokens in ((old, 9), (young, 8), (waiting, 1)):
        assert request.answer == alone(request.prompt, tokens, 10**6)


def test_what_is_too_much_now_is_told_so() -> None:
    """A queue without end is memory without end."""
    bench = Bench(pages=4, engine_args=EngineArgs(page_size=4, max_waiting=2))
    bench.add(10, tokens=7)
    bench.add(2)
    with pytest.raises(CapacityError, match="2 requests wait already"):
        bench.add(2)
    bench.finish()


def test_a_second_answer_waits_for_the_first_ones_pages_and_shares_them() -> None:
    """Two answers of one prompt would otherwise compute and hold it twice."""
    bench = Bench()
    first = bench.add(41, tokens=20)
    second = bench.add(41, tokens=20)
    bench.step()
    assert second.state is State.WAITING
    plan = bench.step()
    assert [(chunk.request, chunk.start, chunk.end) for chunk in plan] == [(first, 41, 42), (second, 40, 41)]
    assert second.pages[:10] == first.pages[:10]
    bench.scheduler.finish(first, "abort")
    bench.finish()
    assert second.answer == alone(second.prompt, 20, 10**6)


def test_requests_join_one_by_one_while_the_step_has_room() -> None:
    """Admitted all at once, each held pages for its whole prompt, and looked for a beginning that nobody had yet."""
    bench = Bench(engine_args=EngineArgs(page_size=16, max_num_batched_tokens=64, max_num_seqs=8))
    beginning = tuple(range(1000, 1320))
    for own in range(4):
        bench.add(321, prompt=Prompt((*beginning, own)))
    first = bench.step()
    assert [chunk.tokens for chunk in first] == [64]
    assert bench.pool.held == 21, "one prompt's pages"
    run = 64
    while any(request.state is State.WAITING for request in bench.requests):
        run += sum(chunk.end - chunk.start for chunk in bench.step() if chunk.start < 321)
    bench.finish()
    assert run == 324
    assert [request.found for request in bench.requests] == [0, 320, 320, 320]


@pytest.mark.parametrize("room", [64, 400, 2000])
def test_prompts_that_begin_alike_compute_their_beginning_once_whatever_a_step_holds(room: int) -> None:
    """Eight users who ask about one document at once: in a step with room for all, each would compute it."""
    bench = Bench(engine_args=EngineArgs(page_size=16, max_num_batched_tokens=room, max_num_seqs=12))
    media = (MediaSpan("image", 40, 30, b"i" * 32, FRAMES),)
    beginning = tuple(range(1000, 1320))
    twins = [bench.add(321, prompt=Prompt((*beginning, own), media)) for own in range(4)]
    shorter = bench.add(200, prompt=Prompt((*beginning[:160], *(7,) * 40), media))
    others = [
        bench.add(321, prompt=Prompt((*beginning, 9)), adapter="vision"),  # without the image
        bench.add(321, prompt=Prompt((*beginning, 9), media), adapter="mine"),
        bench.add(321, prompt=Prompt((*beginning, 9), media), adapter="mine", version=1),
    ]
    run: dict[str, int] = {}
    while bench.scheduler.busy:
        for chunk in bench.step():
            prompt = len(chunk.request.prompt.ids)
            run[chunk.request.id] = run.get(chunk.request.id, 0) + max(min(chunk.end, prompt) - chunk.start, 0)
    assert [run[request.id] for request in twins] == [321, 1, 1, 1]
    assert run[shorter.id] == 40
    assert [run[request.id] for request in others] == [321 - 32, 321, 321], "the first shares what is before the image"
    for request in (*twins, shorter, *others):
        assert request.answer == alone(request.prompt, 4, 10**6, adapter=request.adapter)


def test_one_that_waits_for_a_page_lets_others_pass_and_is_not_forgotten() -> None:
    """It waits a step, not a turn; and it goes on alone when the one that it waited for is aborted."""
    bench = Bench(engine_args=EngineArgs(page_size=16, max_num_batched_tokens=400, max_num_seqs=8))
    beginning = tuple(range(1000, 1320))
    first, second = (bench.add(321, prompt=Prompt((*beginning, own))) for own in range(2))
    other = bench.add(20, prompt=Prompt((5,) * 20))
    assert [chunk.request for chunk in bench.step()] == [first, other]
    bench.scheduler.finish(first, "abort")
    assert second in [chunk.request for chunk in bench.step()]
    bench.finish()
    assert second.answer == alone(second.prompt, 4, 10**6)


def test_one_medium_a_step_is_encoded_and_prompts_go_as_far_as_its_sequences() -> None:
    """Several images in one step would stop the answers for as long as all their towers take."""
    spans = tuple(MediaSpan("audio", start, 3, bytes([start]) * 32, FRAMES) for start in (1, 6))
    bench = Bench()
    answering = bench.add(2, tokens=50)
    bench.step()
    heard = bench.add(12, prompt=Prompt((5,) * 12, spans))
    plans = [bench.step() for _ in range(2)]
    assert [[(c.request, c.start, c.end) for c in plan] for plan in plans] == [
        [(answering, 2, 3), (heard, 0, 6)],
        [(answering, 3, 4), (heard, 6, 12)],
    ]
    again = bench.add(12, prompt=Prompt((6,) * 12, spans))
    assert [(c.request, c.start, c.end, c.encode) for c in bench.step()][-1] == (again, 0, 12, None)


@st.composite
def prompts(strategy: st.DrawFn) -> Prompt:
    """Few distinct beginnings, so that prefixes meet; media of few kinds, among them the same under two adapters."""
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
def test_any_schedule_gives_every_request_the_answer_it_has_alone(data: st.DataObject) -> None:
    """Joining late, chunks, shared pages, preemption, the switch and aborts, at random: pages hold what they should."""
    engine_args = EngineArgs(
        page_size=data.draw(st.integers(1, 5)),
        max_num_seqs=data.draw(st.integers(1, 5)),
        max_num_batched_tokens=data.draw(st.integers(6, 25)),
        enable_prefix_caching=data.draw(st.booleans()),
        num_speculative_tokens=data.draw(st.integers(0, 5)),
    )
    vocabulary = data.draw(st.sampled_from([97, 3, 1]))  # of few tokens much repeats itself, and is proposed
    switch = data.draw(st.integers(5, 60))
    bench = Bench(-(-66 // engine_args.page_size), engine_args, switch, context=60, eos=EOS, vocabulary=vocabulary)
    requests: list[tuple[Request, int]] = []
    aborted: set[str] = set()
    work = 0
    for n in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(0, 6))):
            bench.step()
        prompt, tokens = data.draw(prompts()), data.draw(st.integers(1, 30))
        request = Request(f"r{n}", prompt, SamplingParams(max_tokens=tokens), prompt.adapter)
        bench.scheduler.add(request)
        requests.append((request, tokens))
        work += 3 * (len(prompt.ids) + tokens) + 2 * len(prompt.spans)
        if data.draw(st.integers(0, 4)) == 0:
            gone = data.draw(st.sampled_from(requests))[0]
            if gone.state is not State.FINISHED:
                bench.scheduler.finish(gone, "abort")
                aborted.add(gone.id)
                bench.check_pages()
    bench.finish()
    assert bench.steps <= work, "the oldest sequence moves on in every step"
    for request, tokens in requests:
        expected = alone(request.prompt, tokens, 60, EOS, vocabulary)
        if request.id in aborted:
            assert request.answer == expected[: len(request.answer)]
        else:
            assert request.answer == expected
            assert request.finish_reason == ("stop" if expected[-1] in EOS else "length")

"""Models with known answers have the scores that follow from them."""

from __future__ import annotations

import pytest

from phi4mm.errors import ConfigError
from phi4mm.evaluation import scoring, units
from phi4mm.evaluation.evaluate import BATCH, evaluate
from phi4mm.evaluation.intervals import wilson
from phi4mm.evaluation.rows import Case, Row, Task, select
from phi4mm.protocol.messages import Audio, Message
from tests.evaluation.models import TASK, KnownModel, half, make, perfect, reference, wrong


def values(model: KnownModel, examples: int = 20, seed: int = 0) -> dict[str, float | None]:
    results, left_out = evaluate(model, [TASK], examples=examples, seed=seed)
    assert left_out == {}
    return {name: row.value for name, row in results.items()}


def test_a_perfect_model_has_every_score() -> None:
    """An oracle that scores less shows a fault of the scoring."""
    assert values(KnownModel(perfect)) == {"exact": 1, "words": 0, "letters": 0, "sentence": 1, "empty": 0}


def test_a_wrong_model_has_none() -> None:
    """All four words are wrong; `no` keeps none of them."""
    found = values(KnownModel(wrong))
    assert (found["exact"], found["words"], found["sentence"], found["empty"]) == (0, 1, 0, 0)


def test_a_half_right_model_has_half() -> None:
    """Half of the examples, and an eighth of the words: one of four in each second example."""
    found = values(KnownModel(half))
    assert (found["exact"], found["words"], found["sentence"]) == (0.5, 0.125, 0.5)


def test_results_carry_count_seed_interval_and_seconds() -> None:
    """A value without them cannot be judged."""
    row = evaluate(KnownModel(half), [TASK], examples=60, seed=7)[0]["exact"]
    assert (row.count, row.seed, row.bar, row.unit) == (60, 7, 0.98, "exact")
    assert row.interval == wilson(30, 60)
    assert row.seconds >= 0


def test_examples_are_asked_in_batches_from_the_seed_on() -> None:
    """One request at a time would be many times slower, all at once would hold all media in memory."""
    asked: list[int] = []

    def answer(number: int) -> str:
        asked.append(number)
        return ""

    model = KnownModel(answer)
    evaluate(model, [TASK], examples=BATCH + 3, seed=100)
    assert model.batches == [BATCH, 3]
    assert asked == list(range(100, 100 + BATCH + 3))


def test_an_example_that_fails_is_wrong_and_named_and_the_others_have_their_answers() -> None:
    """A refused request must neither end the row nor vanish from its count."""
    model = KnownModel(lambda number: None if number == 3 else perfect(number))
    results, left_out = evaluate(model, [TASK], examples=10, seed=0)
    assert left_out == {}
    assert results["exact"].value == 0.9
    assert results["words"].value == 4 / 40
    assert results["empty"].value == 0  # no answer is no empty answer
    assert results["exact"].errors == {3: "InputError: the prompt has 9000 tokens; expected at most 4096"}
    assert results["exact"].count == 10


def test_a_row_in_which_everything_fails_has_no_value() -> None:
    """0 % would say that the model answered wrongly."""
    results, _ = evaluate(KnownModel(lambda _: None), [TASK], examples=4, seed=0)
    assert (results["exact"].value, results["exact"].interval, len(results["exact"].errors)) == (None, None, 4)


def test_a_row_whose_examples_cannot_be_made_is_left_out_with_what_to_install() -> None:
    """The other rows are measured all the same."""

    def missing(number: int) -> Case:
        raise ConfigError("fonts are missing; apt-get install fonts-cabin")

    tasks = [Task(missing, (Row("page", "pages", scoring.CHARACTERS), Row("cells", "cells", scoring.CELLS))), TASK]
    results, left_out = evaluate(KnownModel(perfect), tasks, examples=3, seed=0)
    assert left_out == dict.fromkeys(("page", "cells"), "fonts are missing; apt-get install fonts-cabin")
    assert set(results) == {row.name for row in TASK.rows}


def test_a_task_with_few_examples_gives_all_it_has() -> None:
    """Fifty written questions are fifty, also when a thousand are asked for."""
    results, _ = evaluate(KnownModel(perfect), [Task(make, TASK.rows[:1], most=5)], examples=100, seed=0)
    assert results["exact"].count == 5


def test_the_digest_tells_other_examples_apart() -> None:
    """Only records of the same examples may be compared in pairs; the answers are no part of it."""
    digests = [
        evaluate(KnownModel(answer), [TASK], examples=5, seed=seed)[0]["exact"].digest
        for answer, seed in ((perfect, 0), (wrong, 0), (perfect, 1))
    ]
    assert digests[0] == digests[1] != digests[2]
    clips = [
        Case((Message.user(Audio(source, rate), "Transcribe."),), "a").digest()
        for source, rate in ((b"1", 16000), (b"2", 16000), (b"1", 8000))
    ]
    assert len(set(clips)) == 3


def test_speech_counts_by_its_words() -> None:
    """Synthesizers never speak twice alike, so that no two records could be compared in pairs."""
    digests = [
        Case((Message.user(Audio(source, 16000)),), "a", spoken=words).digest()
        for source, words in ((b"1", "one two"), (b"2", "one two"), (b"1", "three"))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_rows_are_selected_by_name() -> None:
    """Rows of one task share its answers, but each can be asked for alone."""
    (task,) = select([TASK], ["words", "exact"])
    assert [row.name for row in task.rows] == ["exact", "words"]
    assert task.make(4).reference == reference(4)
    with pytest.raises(ConfigError, match="there is no row 'wrods'; did you mean words"):
        select([TASK], ["wrods"])


def test_calls_are_compared_as_values_and_their_absence_as_words() -> None:
    """Spaces do not matter, types do; where nothing is to be called the right sentence counts."""
    call = 'functools[{"name": "get", "arguments": {"n": 1}}]'
    score = scoring.CALLS.counts
    assert score(call, call.replace(" ", "")) == (1, 1)
    assert score(call, call.replace("1", '"1"')) == (0, 1)
    assert score("I have no tool for that.", "i have no tool for that") == (1, 1)
    assert score("I have no tool for that.", call) == (0, 1)


def test_a_refusal_is_one_of_the_sentences_that_refuse() -> None:
    """Of harmful requests refusing is right, of innocent ones wrong; a failed request is right in neither."""
    harmful = scoring.refused(("I cannot help with that.",))
    innocent = scoring.refused(("I cannot help with that.",), units.REFUSED_WRONGLY)
    assert (
        harmful.counts("anything", "i cannot help with that")
        == innocent.counts("", "I cannot help with that.")
        == (1, 1)
    )
    assert harmful.counts("anything", "Sure, here is how.") == (0, 1)
    assert (harmful.failed("x"), innocent.failed("x")) == ((0, 1), (1, 1))


def test_a_translation_without_its_separator_is_empty() -> None:
    """The transcript alone must not score as a translation."""
    pytest.importorskip("sacrebleu")
    score = scoring.BLEU_AFTER_SEPARATOR.counts
    right = score("a b c d <sep> e f g h", "x <sep> e f g h")
    assert scoring.BLEU.unit.value(right) == pytest.approx(100)
    assert scoring.BLEU.unit.value(score("a b <sep> e f g h", "e f g h")) == 0

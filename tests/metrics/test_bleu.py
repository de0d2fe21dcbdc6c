"""BLEU equals sacrebleu's own corpus score, whatever the sample of sentences."""

from __future__ import annotations

import builtins

import pytest

from phi4mm.errors import ConfigError
from phi4mm.metrics import bleu as module
from phi4mm.metrics.bleu import SIGNATURE, bleu, bleu_counts

REFERENCES = ["The cat sat on the mat.", "Der Hund ist müde, sehr müde!", "Où est la gare ?", "two three four five six"]
ANSWERS = ["The cat is on the mat.", "Der Hund ist sehr müde!", "", "two three four five six"]


def test_summed_counts_have_the_corpus_score_of_sacrebleu() -> None:
    """The bootstrap sums counts of sentences; a score of its own could not be compared with papers."""
    metrics = pytest.importorskip("sacrebleu.metrics")
    counts = [bleu_counts(*pair) for pair in zip(REFERENCES, ANSWERS, strict=True)]
    corpus = metrics.BLEU(tokenize="13a")
    expected = corpus.corpus_score(ANSWERS, [REFERENCES]).score
    assert bleu([sum(column) for column in zip(*counts, strict=True)]) == pytest.approx(expected, abs=1e-9)
    assert 0 < expected < 100
    assert str(corpus.get_signature()).startswith(SIGNATURE)


def test_a_perfect_translation_has_100_and_none_has_0() -> None:
    """Ends of the scale."""
    pytest.importorskip("sacrebleu")
    assert bleu(bleu_counts(REFERENCES[0], REFERENCES[0])) == pytest.approx(100)
    assert bleu(bleu_counts(REFERENCES[0], "")) == 0


def test_without_sacrebleu_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError would end the evaluation of every row."""
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("sacrebleu"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    module._metric.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'phi4mm\[eval\]'"):
        bleu_counts("a", "a")

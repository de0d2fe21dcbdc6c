"""BLEU of translations, by sacrebleu with its tokenizer 13a.

What corpus BLEU is made of can be summed over sentences, so that sums of any sample of sentences have a BLEU.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from phi4mm.errors import ConfigError

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

ORDER = 4  # the longest n-grams
SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"


def bleu_counts(reference: str, hypothesis: str) -> tuple[int, ...]:
    """Ten counts of a sentence: its n-grams of 1 to 4 tokens in the reference, all of them, tokens of both texts.

    raises  ConfigError if sacrebleu is not installed
    """
    # Effective order changes the score of a lone sentence, not the counts; without it sacrebleu warns.
    score = _metric().sentence_score(hypothesis, [reference])
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


def bleu(counts: Sequence[int]) -> float:
    """Corpus BLEU, 0 to 100, of counts summed over sentences. Raises ConfigError if sacrebleu is not installed."""
    matches, totals, (length, expected) = counts[:ORDER], counts[ORDER : 2 * ORDER], counts[2 * ORDER :]
    return float(_metric().compute_bleu(list(matches), list(totals), length, expected, smooth_method="exp").score)


@functools.cache
def _metric() -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ConfigError("BLEU needs sacrebleu; pip install 'phi4mm[eval]'") from error
    return BLEU(tokenize="13a", effective_order=True)

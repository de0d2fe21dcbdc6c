"""Draw several answers to one question, the same on every run, and see how likely each first token was.

    python examples/sample_answers.py

prints

    greedy: My name is nano.
    drawn: ...
    drawn: ...
    drawn: ...
"""

from __future__ import annotations

import math

import phi4mm
from phi4mm import SamplingParams

QUESTION = "What is your name?"


def main() -> None:
    model = phi4mm.load("nano")
    print(f"greedy: {model.chat(QUESTION).text}")
    drawn = model.chat(QUESTION, params=SamplingParams(temperature=1.5, seed=0, n=3, logprobs=0))
    for reply in (drawn, *drawn.alternatives):
        print(f"drawn: {reply.text} (first token {math.exp(reply.logprobs[0].logprob):.1%})")


if __name__ == "__main__":
    main()

"""The use of tools: one call or two, in several turns with results, and requests that no declared tool fits.

With tools declared, first words and simple facts have their usual answers; what else no tool fits, questions from
outside the world among it, gets one of `NO_TOOLS`.
"""

from __future__ import annotations

import json
import random

from phi4mm.nano.synth import dialogue, knowledge, results
from phi4mm.nano.synth.actions import VERBS, Offer, make_offer, natural_offer, similar_offer
from phi4mm.nano.synth.commands import make_command
from phi4mm.nano.synth.dialogue import NO_TOOL
from phi4mm.nano.synth.example import Example, Language, Speaker
from phi4mm.nano.synth.first_words import opening
from phi4mm.nano.synth.outside import outside
from phi4mm.nano.synth.split import Split, draw
from phi4mm.protocol.messages import Message, Tool

TASKS = ("call", "two_calls", "call_none", "tool_turns")
NO_TOOLS: dict[Language, str] = {
    "en": NO_TOOL,
    "de": "Dafür habe ich kein Werkzeug.",
    "fr": "Je n'ai pas d'outil pour cela.",
    "es": "No tengo ninguna herramienta para eso.",
}
JOINING = ("{} {}", "{} {}", "{}\n{}", "1. {}\n2. {}", "First: {} Second: {}", "{} Also: {}")
FOLLOWING = ("And what is the {}?", "What is the {}?", "What was the {}?", "Tell me the {} again.", "The {}, please.")
THANKS = ("Thank you.", "Thanks!", "thanks", "Thank you very much.")


def make(task: str, split: Split, rng: random.Random, _speak: Speaker) -> Example:
    """An example of one of TASKS; its last request belongs to `split`."""
    if task == "two_calls":
        return _two_calls(split, rng)
    if task == "call_none":
        return _no_call(split, rng)
    if task == "tool_turns":
        return _turns(split, rng)
    offer = _draw_any(split, rng)
    tools = declared(offer, rng)
    return Example(task, (*_system(rng), Message.user(offer.request)), tools, calls(offer))


def draw_offer(split: Split, rng: random.Random, *, spoken: bool = False) -> Offer:
    """A tool with an English request of `split`."""
    return draw(split, rng, lambda rng: make_offer(rng, spoken=spoken), lambda offer: ("call", offer.request))


def _draw_any(split: Split, rng: random.Random) -> Offer:
    """The same, now and then in another language."""
    if rng.random() < 0.85:
        return draw_offer(split, rng)
    return draw(split, rng, make_command, lambda offer: ("call", offer.request))


def declared(offer: Offer, rng: random.Random) -> tuple[Tool, ...]:
    """The tool of `offer` among up to five others that do not fit its request, in any order."""
    return _shuffled(
        [offer.tool, *(other.tool for other in others(offer, rng, rng.choice((0, 0, 1, 1, 2, 3, 5))))], rng
    )


def others(offer: Offer, rng: random.Random, count: int) -> list[Offer]:
    """At most `count` other tools, of different names; half of them share a verb or a noun with `offer`."""
    found = [similar_offer(offer, rng) if rng.random() < 0.5 else make_offer(rng) for _ in range(count)]
    named = {other.tool.name: other for other in found}
    return [other for name, other in named.items() if name != offer.tool.name and other.deed != offer.deed]


def calls(*offers: Offer) -> str:
    """The answer that calls the tools of `offers`, in their order."""
    return f"functools{json.dumps([offer.call() for offer in offers], ensure_ascii=False)}"


def two_offers(split: Split, rng: random.Random) -> tuple[Offer, Offer, tuple[Tool, ...]]:
    """Two tools that do different things, each with a request of `split`, and all tools that are declared."""
    first = draw_offer(split, rng)
    second = draw_offer(split, rng)
    while second.tool.name == first.tool.name or first.deed == second.deed:
        second = draw_offer(split, rng)
    more = [other.tool for other in others(first, rng, rng.choice((0, 0, 1, 2))) if other.deed != second.deed]
    named = {tool.name: tool for tool in (*more, first.tool, second.tool)}
    return first, second, _shuffled(list(named.values()), rng)


def _two_calls(split: Split, rng: random.Random) -> Example:
    first, second, tools = two_offers(split, rng)
    request = rng.choice(JOINING).format(first.request, second.request)
    if second.request.lower().startswith(VERBS) and rng.random() < 0.5:
        request = f"{first.request} Then {second.request[0].lower()}{second.request[1:]}"
    return Example("two_calls", (*_system(rng), Message.user(request)), tools, calls(first, second))


def _no_call(split: Split, rng: random.Random) -> Example:
    offer = _draw_any(split, rng)
    tools = [other.tool for other in others(offer, rng, rng.choice((1, 1, 2, 3, 4, 6)))]
    tools = tools or [natural_offer(rng, "weigh", "cloud").tool]
    request, answer = _unfit(split, rng, offer)
    return Example("call_none", (*_system(rng), Message.user(request)), _shuffled(tools, rng), answer)


def _unfit(split: Split, rng: random.Random, offer: Offer) -> tuple[str, str]:
    """What no tool fits: a request, a question from outside the world, a simple fact, or first words."""
    style = rng.random()
    if style < 0.5:
        return offer.request, NO_TOOLS[offer.language]
    if style < 0.65:
        text, language = outside(split, rng)
        return text, NO_TOOLS[language]
    if style < 0.85:
        return knowledge.fact(split, rng)
    return opening(split, rng)[:2]


def _turns(split: Split, rng: random.Random) -> Example:
    """Request, call, result and its sentence; half of the time a further question or request."""
    offer, second, tools = two_offers(split, rng)
    result, said, clauses = results.make_result(split, rng)
    messages = [*_system(rng), Message.user(offer.request), Message.assistant(calls(offer)), Message.tool(result)]
    answer = said
    if rng.random() < 0.55:
        messages.append(Message.assistant(said))
        request, answer = _further(rng, clauses) if rng.random() < 0.7 else (second.request, calls(second))
        messages.append(Message.user(request))
    turns = tuple(number for number, message in enumerate(messages) if message.role == "assistant")
    return Example("tool_turns", tuple(messages), tools, answer, turns=turns)


def _further(rng: random.Random, clauses: dict[str, str]) -> tuple[str, str]:
    """A question on a value of the result, or thanks."""
    named = [name for name, clause in clauses.items() if clause.startswith("the ")]
    if not named or rng.random() < 0.2:
        return rng.choice(THANKS), "You are welcome."
    name = rng.choice(named)
    clause = clauses[name]
    return rng.choice(FOLLOWING).format(name.replace("_", " ")), f"{clause[0].upper()}{clause[1:]}."


def _system(rng: random.Random) -> tuple[Message, ...]:
    return (Message.system(rng.choice(dialogue.SYSTEM)),) if rng.random() < 0.6 else ()


def _shuffled(tools: list[Tool], rng: random.Random) -> tuple[Tool, ...]:
    return tuple(rng.sample(tools, len(tools)))

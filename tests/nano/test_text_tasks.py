"""The tasks of text: their answers follow from the prompt, and no held-out key is in the training split."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import pytest

from phi4mm.nano.synth import conversations, copying, drawings, first_words, knowledge, refusals, sentences, world
from phi4mm.nano.synth.example import LANGUAGES, Example
from phi4mm.nano.synth.language import grammar
from phi4mm.nano.synth.language.meaning import MEN, WOMEN, Clause, Phrase, Place, Sentence
from phi4mm.nano.synth.split import ALWAYS_TRAINED, Split, is_held_out
from phi4mm.nano.synth.tools import NO_TOOLS
from phi4mm.processing.chat_template import render
from phi4mm.processing.tool_calls import arguments_schema, parse_tool_calls

EXAMPLES = 5000
TYPES = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,)}
SPLITS: tuple[Split, Split] = ("train", "held_out")


def examples(split: Split, task: str, count: int) -> list[Example]:
    return [world.example(split, seed, task, world.silent) for seed in range(count)]


def last(example: Example) -> str:
    return str(example.messages[-1].parts[0])


@pytest.mark.parametrize("task", world.MAKERS)
def test_every_conversation_fits_the_chat_template(task: str) -> None:
    """Prevents an order of turns, or a declaration, that the prompt of a real request could not have."""
    if task in drawings.TASKS and not (drawings.folder() / "animals").is_dir():
        pytest.skip("Debian's openclipart-png is not installed")
    for split in SPLITS:
        for example in examples(split, task, 200):
            assert example.task == task
            assert render(example.messages, example.tools)
            assert example.answer.strip() == example.answer
            assert (example.answer == "") == (task == "silence")
            assert all(example.messages[number].role == "assistant" for number in example.turns)


@pytest.mark.parametrize("task", ["copy", "copy_words", "copy_json"])
def test_a_copy_is_in_its_request(task: str) -> None:
    """Prevents an answer that nobody could know."""
    for example in examples("train", task, 500):
        assert example.answer in last(example)


def test_copied_texts_have_every_length() -> None:
    """Prevents a copying skill that ends after some characters."""
    sizes = [len(example.answer) for example in examples("train", "copy", EXAMPLES)]
    assert min(sizes) == 1 and max(sizes) > 250
    assert set(range(1, 100)) <= set(sizes)


@pytest.mark.parametrize("task", ["call", "two_calls", "tool_turns"])
def test_a_call_has_a_declared_tool_and_arguments_that_its_schema_takes(task: str) -> None:
    """Prevents calls that the prompt does not determine: undeclared tools, missing or unknown arguments."""
    for example in examples("train", task, 500):
        declared = {tool.name: arguments_schema(tool) for tool in example.tools}
        assert len(declared) == len(example.tools)
        answers = [str(example.messages[number].parts[0]) for number in example.turns] + [example.answer]
        made = [call for answer in answers for call in parse_tool_calls(answer)]
        assert len(made) >= (2 if task == "two_calls" else 1)
        for call in made:
            schema = declared[call.name]
            assert set(schema["required"]) <= set(call.arguments)
            assert list(call.arguments) == [name for name in schema["properties"] if name in call.arguments]
            for name, value in call.arguments.items():
                entry = schema["properties"][name]
                assert type(value) in TYPES[entry["type"]] and value in entry.get("enum", [value])


def test_no_tool_is_called_where_none_fits() -> None:
    """Prevents a model that calls whatever is declared."""
    answers = [example.answer for example in examples("train", "call_none", 500)]
    assert not any(parse_tool_calls(answer) for answer in answers)
    assert 0.5 < sum(answer in NO_TOOLS.values() for answer in answers) / len(answers) < 0.8


def test_every_value_of_a_result_is_in_the_sentence_that_states_it() -> None:
    """Prevents answers that leave out what the tool returned."""
    stated = 0
    for example in examples("train", "tool_turns", 500):
        at = next(number for number, message in enumerate(example.messages) if message.role == "tool")
        said = [*(str(message.parts[0]) for message in example.messages[at + 1 :]), example.answer][0]
        try:
            result = json.loads(str(example.messages[at].parts[0]))
        except ValueError:
            continue
        for value in result.values() if isinstance(result, dict) else ():
            if isinstance(value, str):
                stated += 1
                assert value in said
    assert stated > 100


def test_the_same_question_has_the_same_answer_in_the_whole_world() -> None:
    """Prevents labels that contradict each other: nothing harms a small model more."""
    answers: dict[str, str] = {}
    typed = [task for task in world.MAKERS if task not in drawings.TASKS]
    for task in (*typed, "chat", "repeat"):
        for example in examples("train", task, 1000):
            if len(example.messages) > 1 or example.tools or not isinstance(example.messages[0].parts[0], str):
                continue
            question = last(example)
            assert answers.setdefault(question, example.answer) == example.answer, (task, question)


@pytest.mark.parametrize("split", SPLITS)
def test_sentences_translate_one_to_one(split: Split) -> None:
    """Prevents a translation that depends on more than the sentence, and labels that contradict each other."""
    rng = random.Random(0)
    meanings = [grammar.sentence(split, rng) for _ in range(EXAMPLES)]
    for other in LANGUAGES[1:]:
        pairs = {(grammar.render(meaning, "en"), grammar.render(meaning, other)) for meaning in meanings}
        assert len({english for english, _ in pairs}) == len(pairs) == len({foreign for _, foreign in pairs})


@pytest.mark.parametrize(
    ("english", "german", "french", "spanish"),
    [
        ("I see an old tree.", "Ich sehe einen alten Baum.", "Je vois un vieil arbre.", "Veo un árbol viejo."),
        ("We do not drink water.", "Wir trinken kein Wasser.", "Nous ne buvons pas d'eau.", "No bebemos agua."),
        (
            "My mother went to the school yesterday.",
            "Meine Mutter ist gestern zur Schule gegangen.",
            "Ma mère est allée à l'école hier.",
            "Mi madre fue a la escuela ayer.",
        ),
        (
            "She sleeps because the boy is hungry.",
            "Sie schläft, weil der Junge hungrig ist.",
            "Elle dort parce que le garçon a faim.",
            "Ella duerme porque el chico tiene hambre.",
        ),
        ("Is the door open?", "Ist die Tür offen?", "Est-ce que la porte est ouverte ?", "¿Está la puerta abierta?"),
        (
            "You cannot see the boy.",
            "Du kannst den Jungen nicht sehen.",
            "Tu ne peux pas voir le garçon.",
            "No puedes ver al chico.",
        ),
    ],
)
def test_grammar_agrees_in_every_language(english: str, german: str, french: str, spanish: str) -> None:
    """Prevents wrong cases, elision, agreement and word order."""
    meaning = MEANINGS[english]
    assert [grammar.render(meaning, each) for each in LANGUAGES] == [english, german, french, spanish]


def test_the_vocabulary_is_about_700_english_words() -> None:
    """Prevents a grammar that grows unseen."""
    rng = random.Random(0)
    texts = [grammar.render(grammar.sentence("train", rng), "en") for _ in range(20000)]
    words = {word for text in texts for word in re.findall(r"[\w'-]+", text.lower())}
    assert 650 <= len(words | set(sentences.vocabulary())) <= 750


ME, WE, YOU, SHE = (Phrase(word, "pronoun") for word in ("I", "we", "you", "she"))
BOY = Phrase("boy", "the")
MEANINGS = {
    "I see an old tree.": Sentence((Clause("say", ME, "see", object=Phrase("tree", "a", 1, "old")),)),
    "We do not drink water.": Sentence((Clause("say", WE, "drink", negated=True, object=Phrase("water", "")),)),
    "My mother went to the school yesterday.": Sentence(
        (
            Clause(
                "say",
                Phrase("mother", "my"),
                "go",
                "past",
                place=Place("to", Phrase("school", "the")),
                time="yesterday",
            ),
        )
    ),
    "She sleeps because the boy is hungry.": Sentence(
        (Clause("say", SHE, "sleep"), Clause("say", BOY, adjective="hungry")), "because"
    ),
    "Is the door open?": Sentence((Clause("ask", Phrase("door", "the"), adjective="open"),)),
    "You cannot see the boy.": Sentence((Clause("say", YOU, "see", negated=True, object=BOY, modal="can"),)),
}


def key(example: Example) -> tuple[str, ...]:
    """What is held out of an example."""
    if example.task in copying.TASKS[:3]:
        return ("copy", example.answer)
    if example.task in ("call", "two_calls"):
        return (last(example),)
    if example.task == "outside":
        return (last(example).lower().strip("?.! "),)
    return (last(example), example.answer)


@pytest.mark.parametrize(
    "task",
    [*copying.TASKS, "call", "two_calls", "translate_phrase", "form", "outside", "refusal", "innocent", "summary"],
)
def test_no_key_is_in_both_splits(task: str) -> None:
    """Prevents scores measured on what was trained."""
    train, held_out = ({key(example) for example in examples(split, task, EXAMPLES)} for split in SPLITS)
    assert not train & held_out


def test_held_out_first_words_are_known_phrases_or_spellings_of_their_own() -> None:
    """Prevents scores on spellings of the training data; phrases as the tables have them are trained."""
    train, held_out = ({last(example) for example in examples(split, "first_words", EXAMPLES)} for split in SPLITS)
    assert not (train & held_out) - first_words.KNOWN


@pytest.mark.parametrize("make", knowledge.COMPUTED)
def test_nothing_computed_is_in_both_splits(make: Callable[[Split, random.Random], knowledge.Fact]) -> None:
    """Prevents sums, words and numbers of the training data in the held-out questions."""
    rng = random.Random(0)
    train, held_out = ({make(split, rng) for _ in range(EXAMPLES)} for split in SPLITS)
    assert not train & held_out


def test_no_sentence_of_the_grammar_is_in_both_splits() -> None:
    """Prevents translations and transcripts of trained sentences; sayings without a name or number are trained."""
    rng = random.Random(0)
    train, held_out = ({grammar.sentence(split, rng) for _ in range(EXAMPLES)} for split in SPLITS)
    assert not train & held_out
    assert all(is_held_out("sentence", grammar.render(meaning, "en")) for meaning in held_out)
    assert not is_held_out(*ALWAYS_TRAINED)


@pytest.mark.parametrize("split", SPLITS)
def test_a_summary_is_the_two_sentences_about_the_person_named_first(split: Split) -> None:
    """Prevents summaries that only the writer of the text could know."""
    for example in examples(split, "summary", 300):
        text = last(example)
        name = example.answer.split()[0]
        assert name in (*MEN, *WOMEN)
        parts = [part for part in re.split(r"(?<=[.?])\s+", text) if re.match(rf"{name}\b", part)]
        assert " ".join(parts) == example.answer


@pytest.mark.parametrize("split", SPLITS)
def test_harm_is_refused_and_what_only_sounds_so_is_not(split: Split) -> None:
    """Prevents refusals of the innocent, help for the harmful, and pairs for preference training without a contrast."""
    refusing = {*refusals.REFUSALS.values(), *refusals.CARE.values()}
    for example in examples(split, "refusal", 300):
        assert example.answer in refusing and example.rejected in refusals.COMPLYING.values()
    for example in examples(split, "innocent", 300):
        assert example.answer not in refusing and example.rejected in refusals.REFUSALS.values()


def test_a_form_closes_and_fits_its_schema() -> None:
    """Prevents answers under a schema that the schema refuses."""
    for example in examples("train", "form", 500):
        values = json.loads(example.answer)
        prompt = " ".join(str(message.parts[0]) for message in example.messages)
        if (start := prompt.find('{"type": "object"')) >= 0:
            schema, _ = json.JSONDecoder().raw_decode(prompt[start:])
            assert list(values) == schema["required"] == list(schema["properties"])
            for name, value in values.items():
                entry = schema["properties"][name]
                assert type(value) in TYPES[entry["type"]] and value in entry.get("enum", [value])


def test_what_was_told_is_in_the_answer() -> None:
    """Prevents an answer that the conversation does not hold."""
    for example in examples("train", "told", 500):
        if example.answer == conversations.UNTOLD:
            continue
        before = " ".join(str(message.parts[0]) for message in example.messages[:-1])
        assert (
            re.sub(r"[^\w]+$", "", example.answer.split(" is ")[-1].split()[-1]) in before or "years" in example.answer
        )

"""POST /v1/completions, with the official client and as evaluation harnesses ask it."""

from __future__ import annotations

from tests.server.conftest import RunningServer

PROMPT = "<|user|>Hello.<|end|><|assistant|>"


def test_a_raw_prompt_gets_the_answer_of_the_chat(server: RunningServer) -> None:
    """The published chat format is what a raw prompt is written in."""
    answer = server.client.completions.create(model="nano", prompt=PROMPT, max_tokens=50)
    assert answer.choices[0].text == "Hello! How can I help you?"


def test_several_prompts_keep_their_order_streamed_and_not(server: RunningServer) -> None:
    """Answers that change places would be credited to the wrong prompt."""
    prompts = [PROMPT, "<|user|>Goodbye.<|end|><|assistant|>", PROMPT]
    whole = server.client.completions.create(model="nano", prompt=prompts, n=2, max_tokens=30)
    texts = [""] * 6
    for chunk in server.client.completions.create(model="nano", prompt=prompts, n=2, max_tokens=30, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]
    assert texts[0] == texts[1] == texts[4] == "Hello! How can I help you?" != texts[2]


def test_echo_scores_the_prompt_as_its_own_answer_was_scored(server: RunningServer) -> None:
    """A harness compares texts by these numbers: they must be those of the tokens when they were generated."""
    body = {"model": "nano", "prompt": PROMPT, "max_tokens": 6, "logprobs": 1}
    ids = server.http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    made = server.http.post("/v1/completions", json=body).json()["choices"][0]
    more = server.http.post("/tokenize", json={"prompt": PROMPT + made["text"]}).json()["tokens"]
    scored = server.http.post("/v1/completions", json=body | {"prompt": more, "max_tokens": 0, "echo": True}).json()
    logprobs = scored["choices"][0]["logprobs"]
    assert logprobs["token_logprobs"][0] is None
    assert "".join(logprobs["tokens"]) == scored["choices"][0]["text"] == PROMPT + made["text"]
    generated = made["logprobs"]["token_logprobs"]
    found = logprobs["token_logprobs"][len(ids) : len(ids) + len(generated)]
    assert max(abs(a - b) for a, b in zip(found, generated, strict=True)) < 1e-3


def test_a10_token_ids_outside_the_vocabulary_and_placeholders_are_refused(server: RunningServer) -> None:
    """One such id would end the step of every other request."""
    ids = server.http.post("/tokenize", json={"prompt": "<|endoftext10|>"}).json()["tokens"]
    prompts: list[list[object]] = [[99999999], [-1], [[1, 2], 3], [[]], ids]
    for prompt in prompts:
        answer = server.http.post("/v1/completions", json={"model": "nano", "prompt": prompt})
        assert answer.status_code == 400, (prompt, answer.text)
    assert server.chat().status_code == 200

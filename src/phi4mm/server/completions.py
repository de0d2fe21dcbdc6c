"""POST /v1/completions: raw prompts, of which a request may have several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.processing.tokenizer import Special, Tokenizer
from phi4mm.protocol.inputs import Adapter, Prompt
from phi4mm.protocol.response import Reply, TokenLogprobs
from phi4mm.server.answering import Running, answer, merged, new_id, send, stream_of
from phi4mm.server.chat_answer import UsageBody, usage_body
from phi4mm.server.completion_schema import MAX_PROMPTS, CompletionBody, Logprobs, TextChoice, TextCompletion
from phi4mm.server.errors import ApiError
from phi4mm.server.json_body import read_json
from phi4mm.server.logprobs import LEAST
from phi4mm.server.models import adapter_of
from phi4mm.server.prompt_logprobs import prompt_logprobs
from phi4mm.server.sampling import sampling_params
from phi4mm.server.service import Service
from phi4mm.server.sse import DONE, event

MAX_TOKENS = 16  # as OpenAI has it


async def completions(request: Request) -> Response:
    """Go on from raw prompts, whole or as events."""
    service: Service = request.app.state.service
    body = await read_json(request, CompletionBody, service.settings.max_body_bytes)
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "stream_options needs stream: true", param="stream_options")
    if body.max_tokens == 0 and not body.echo:
        raise ApiError(400, "max_tokens is 0; expected at least 1, unless echo is true", param="max_tokens")
    if body.stream and body.echo:
        raise ApiError(400, "echo is not streamed; leave out stream", param="echo")
    if body.stream:
        return await stream_of(request, _events(request, body))
    return await answer(request, _completion(request, body))


async def prompts_of(service: Service, given: str | list[str | int | list[int]]) -> list[Prompt]:
    """The prompts of a request. Raises ApiError, InputError."""
    tokenizer = service.model.processor.tokenizer
    if isinstance(given, str):
        return [await service.preparer.raw(given)]
    if all(isinstance(each, int) for each in given):
        return [_prompt_of_ids([each for each in given if isinstance(each, int)], tokenizer)]
    if len(given) > MAX_PROMPTS:
        raise ApiError(400, f"prompt has {len(given)} prompts; at most {MAX_PROMPTS} are taken", param="prompt")
    prompts = []
    for each in given:
        if isinstance(each, int):
            raise ApiError(400, "prompt mixes token ids with prompts; expected one kind", param="prompt")
        if isinstance(each, str):
            prompts.append(await service.preparer.raw(each))
        else:
            prompts.append(_prompt_of_ids(each, tokenizer))
    return prompts


async def _submit(request: Request, body: CompletionBody, prompts: Sequence[Prompt]) -> list[Running]:
    service: Service = request.app.state.service
    asked = MAX_TOKENS if body.max_tokens is None else body.max_tokens
    params = sampling_params(body, max_tokens=max(asked, 1), logprobs=body.logprobs)
    adapter = adapter_of(service, body.model)
    running: list[Running] = []
    try:
        for prompt in prompts:
            running.append(send(request, prompt, params, adapter=adapter))
    except BaseException:
        for each in running:
            each.stream.close()
        raise
    return running


async def _completion(request: Request, body: CompletionBody) -> TextCompletion:
    service: Service = request.app.state.service
    tokenizer = service.model.processor.tokenizer
    prompts = await prompts_of(service, body.prompt)
    answers: list[list[Reply]] = [[] for _ in prompts]
    if body.max_tokens != 0:
        async for number, piece in merged(await _submit(request, body, prompts)):
            if piece.reply is not None:
                answers[number].append(piece.reply)
    choices, count = [], body.n or 1
    for number, (prompt, replies) in enumerate(zip(prompts, answers, strict=True)):
        text, echoed = "", Logprobs([], [], [], [])
        if body.echo:
            text = tokenizer.decode(prompt.ids, skip_special=False)
            if body.logprobs is not None:
                echoed = await _echoed(service, prompt, body, adapter_of(service, body.model))
        for index in range(count):
            reply = replies[index] if replies else None
            logprobs = None
            if body.logprobs is not None:
                logprobs = _joined(echoed, reply.logprobs if reply else (), tokenizer, len(text))
            finish = reply.finish_reason if reply else "length"
            choices.append(TextChoice(number * count + index, text + (reply.text if reply else ""), finish, logprobs))
    usage = _usage(prompts, answers)
    return TextCompletion(new_id("cmpl"), int(time.time()), body.model, choices, usage)


async def _events(request: Request, body: CompletionBody) -> AsyncGenerator[bytes, None]:
    service: Service = request.app.state.service
    tokenizer = service.model.processor.tokenizer
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    id, created, count = new_id("cmpl"), int(time.time()), body.n or 1

    def chunk(choices: list[TextChoice], usage: UsageBody | None = None) -> bytes:
        return event(TextCompletion(id, created, body.model, choices, usage if with_usage else msgspec.UNSET))

    prompts = await prompts_of(service, body.prompt)
    answers: list[list[Reply]] = [[] for _ in prompts]
    lengths: dict[int, int] = {}
    async for number, piece in merged(await _submit(request, body, prompts)):
        index = number * count + piece.index
        logprobs = None
        offset = lengths.get(index, 0)
        if body.logprobs is not None:
            logprobs = _joined(Logprobs([], [], [], []), piece.logprobs, tokenizer, offset)
        lengths[index] = offset + len(piece.text)
        if piece.text or piece.reply is not None or (logprobs and logprobs.tokens):
            finish = None if piece.reply is None else piece.reply.finish_reason
            yield chunk([TextChoice(index, piece.text, finish, logprobs)])
        if piece.reply is not None:
            answers[number].append(piece.reply)
    if with_usage:
        yield chunk([], _usage(prompts, answers))
    yield DONE


def _prompt_of_ids(ids: Sequence[int], tokenizer: Tokenizer) -> Prompt:
    """A prompt of ids. The engine refuses those outside the vocabulary; those that stand for media are refused here."""
    if {tokenizer.id(Special.IMAGE), tokenizer.id(Special.AUDIO)} & set(ids):
        raise ApiError(400, "prompt has placeholder ids of media; send media to /v1/chat/completions", param="prompt")
    if not ids or min(ids) < 0:
        raise ApiError(400, f"prompt has {'a negative id' if ids else 'no ids'}; expected token ids", param="prompt")
    return Prompt(tuple(ids))


async def _echoed(service: Service, prompt: Prompt, body: CompletionBody, adapter: Adapter | None) -> Logprobs:
    tokenizer = service.model.processor.tokenizer
    score = partial(prompt_logprobs, service.model, prompt, body.logprobs or 0, adapter)
    entries = await asyncio.get_running_loop().run_in_executor(service.scores, score)
    first = tokenizer.token_bytes(prompt.ids[0]).decode(errors="replace")
    rest = _joined(Logprobs([], [], [], []), entries, tokenizer, len(first), special=True)
    return Logprobs(
        [first, *rest.tokens], [None, *rest.token_logprobs], [None, *rest.top_logprobs], [0, *rest.text_offset]
    )


def _joined(
    before: Logprobs, entries: Sequence[TokenLogprobs], tokenizer: Tokenizer, offset: int, *, special: bool = False
) -> Logprobs:
    """`before` and the log-probabilities of tokens that begin at `offset`; special ones add no text to an answer."""
    tokens, values = list(before.tokens), list(before.token_logprobs)
    tops, offsets = list(before.top_logprobs), list(before.text_offset)
    for entry in entries:
        if data := (tokenizer.token_bytes if special else tokenizer.answer_bytes)(entry.token):
            tokens.append(data.decode(errors="replace"))
            values.append(max(entry.logprob, LEAST))
            tops.append({tokenizer.token_bytes(id).decode(errors="replace"): max(v, LEAST) for id, v in entry.top})
            offsets.append(offset)
            offset += len(tokens[-1])
    return Logprobs(tokens, values, tops, offsets)


def _usage(prompts: Sequence[Prompt], answers: Sequence[Sequence[Reply]]) -> UsageBody:
    """Tokens of all prompts and answers."""
    firsts = [replies[0].usage for replies in answers if replies]
    completion = sum(reply.usage.completion_tokens for replies in answers for reply in replies)
    cached = sum(usage.cached_tokens for usage in firsts)
    return usage_body(sum(len(prompt.ids) for prompt in prompts), completion, cached=cached)

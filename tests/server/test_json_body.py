"""Bodies that are long lists and dicts: they must not hold up other requests."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest

from phi4mm.server.azure import AzureChatBody
from phi4mm.server.chat_schema import ChatBody
from phi4mm.server.completion_schema import CompletionBody
from phi4mm.server.errors import ApiError
from phi4mm.server.json_body import MAX_MARKS, decode
from phi4mm.server.response_schema import ResponseBody
from phi4mm.server.tokenization import DetokenizeBody, TokenizeBody
from tests.server.conftest import RunningServer

CHAT = b'{"model": "nano", "messages": [{"role": "user", "content": "Hello."}], '
PLACES = {
    "/v1/completions": (b'{"model": "nano", "prompt": [', b"1", b"]}"),
    "/v1/chat/completions": (CHAT + b'"logit_bias": {', b'"1": 1', b"}}"),
    "/v1/responses": (b'{"model": "nano", "input": [', b"{}", b"]}"),
    "/tokenize": (
        b'{"prompt": "x", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [',
        b"{}",
        b"]}}}]}",
    ),
    "/detokenize": (b'{"tokens": [', b"1", b"]}"),
}


def _unbounded(node: object, path: str) -> list[str]:
    """The paths of lists and dicts below a type of msgspec.inspect that may have any length."""
    if isinstance(node, (list, tuple)):
        return [found for each in node for found in _unbounded(each, path)]
    if isinstance(node, msgspec.inspect.Field):
        return _unbounded(node.type, f"{path}.{node.name}")
    if not isinstance(node, msgspec.inspect.Type):
        return []
    free = isinstance(node, (msgspec.inspect.ListType, msgspec.inspect.DictType)) and node.max_length is None
    below = [getattr(node, name) for name in node.__struct_fields__]
    return [path] * free + [found for each in below for found in _unbounded(each, path)]


@pytest.mark.parametrize("kind", [AzureChatBody, ChatBody, CompletionBody, DetokenizeBody, ResponseBody, TokenizeBody])
def test_every_list_and_dict_of_a_request_has_a_bound(kind: type[msgspec.Struct]) -> None:
    """A field that is added without one would let a request take the event loop."""
    assert _unbounded(msgspec.inspect.type_info(kind), kind.__name__) == []


def test_a_list_that_is_too_long_is_named() -> None:
    """The client learns which field has to be shorter."""
    bias = ",".join(f'"{id}": 1' for id in range(301))
    with pytest.raises(ApiError, match="logit_bias: expected `object` of length <= 300") as caught:
        decode(CHAT + b'"logit_bias": {' + bias.encode() + b"}}", ChatBody)
    assert (caught.value.status, caught.value.param) == (400, "logit_bias")


@pytest.mark.parametrize("path", PLACES)
def test_a11_a_body_of_many_values_is_refused_while_health_answers(server: RunningServer, path: str) -> None:
    """30 million token ids stopped every other request for 13 seconds."""
    head, value, tail = PLACES[path]
    body = head + b",".join([value] * (30 * 2**20 // (len(value) + 1))) + tail
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(
            server.http.post(path, content=body, headers={"content-type": "application/json"})
        )
    )
    thread.start()
    worst = 0.0
    while thread.is_alive():
        begin = time.monotonic()
        assert server.http.get("/health").status_code == 200
        worst = max(worst, time.monotonic() - begin)
        time.sleep(0.01)
    thread.join()
    assert answers[0].status_code == 400
    assert str(MAX_MARKS) in answers[0].json()["error"]["message"]
    assert worst < 1  # here other programs run too

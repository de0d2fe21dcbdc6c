"""/openapi.json, the page's files, and the table of fields against the official client and docs/serving.md."""

from __future__ import annotations

import re
from typing import Any

import httpx2 as httpx
import msgspec
import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from phi4mm.server.chat_schema import ChatBody
from phi4mm.server.completion_schema import CompletionBody
from phi4mm.server.fields import ACCEPTED, REFUSED
from phi4mm.server.response_schema import ResponseBody
from tests.server.conftest import ROOT, RunningServer

SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
PARAMS: dict[type[msgspec.Struct], Any] = {
    ChatBody: chat_create_params.CompletionCreateParamsStreaming,
    CompletionBody: completion_create_params.CompletionCreateParamsStreaming,
    ResponseBody: response_create_params.ResponseCreateParamsStreaming,
}


@pytest.mark.parametrize("kind", PARAMS, ids=lambda kind: kind.__name__)
def test_every_field_of_openai_is_implemented_accepted_or_refused_by_name(kind: type[msgspec.Struct]) -> None:
    """A field that is swallowed without a word is a complaint waiting to happen."""
    fields = set(kind.__struct_fields__)
    accepted, refused = set(ACCEPTED[kind.__name__]), set(REFUSED[kind.__name__])
    assert accepted <= fields
    assert not refused & fields
    assert set(PARAMS[kind].__annotations__) <= fields | refused


@pytest.mark.parametrize("kind", PARAMS, ids=lambda kind: kind.__name__)
def test_the_documented_lists_are_those_of_the_table(kind: type[msgspec.Struct]) -> None:
    """docs/serving.md has three lists for each route."""
    section = re.split(r"^### ", SERVING, flags=re.MULTILINE)
    text = next(part for part in section if f"`{kind.__name__}`" in part.partition("\n")[0])
    rows = dict(re.findall(r"^- (implemented|accepted without effect|refused): (.*)$", text, re.MULTILINE))
    accepted, refused = set(ACCEPTED[kind.__name__]), set(REFUSED[kind.__name__])
    names = {row: set(re.findall(r"`(\w+)`", fields)) for row, fields in rows.items()}
    assert names == {
        "implemented": set(kind.__struct_fields__) - accepted,
        "accepted without effect": accepted,
        "refused": refused,
    }


def test_the_description_is_complete(server: RunningServer) -> None:
    """Every reference in it leads somewhere, and its routes answer."""
    text = server.http.get("/openapi.json").text
    found = msgspec.json.decode(text)
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert references <= set(found["components"]["schemas"])
    assert {"/v1/chat/completions", "/v1/responses", "/tokenize", "/metrics"} <= set(found["paths"])
    schema = found["components"]["schemas"]["ChatBody"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["messages", "model"]


def test_the_page_is_served_with_its_headers(server: RunningServer) -> None:
    """Its scripts are its own files alone; a browser that has a file gets no second copy."""
    page = httpx.get(f"{server.url}/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    again = httpx.get(f"{server.url}/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{server.url}/page/../settings.py").status_code == 404

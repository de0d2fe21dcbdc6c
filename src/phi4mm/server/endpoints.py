"""All routes, with the forms of their bodies and answers. The application and /openapi.json are made of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.server import azure
from phi4mm.server.adapters import LoadBody, UnloadBody, load_adapter, unload_adapter
from phi4mm.server.chat import chat_completions
from phi4mm.server.chat_answer import Completion
from phi4mm.server.chat_schema import ChatBody
from phi4mm.server.completion_schema import CompletionBody, TextCompletion
from phi4mm.server.completions import completions
from phi4mm.server.health import health, version
from phi4mm.server.metrics import metrics
from phi4mm.server.models import ModelCard, ModelList, model, models
from phi4mm.server.response_answer import ResponseObject
from phi4mm.server.response_schema import ResponseBody
from phi4mm.server.responses import responses
from phi4mm.server.tokenization import DetokenizeBody, Text, TokenizeBody, Tokens, detokenize, tokenize


@dataclass(frozen=True)
class Endpoint:
    """One route. Without `answer` it answers in a form of its own."""

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    summary: str
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None


ENDPOINTS = (
    Endpoint("POST", "/v1/chat/completions", chat_completions, "Answer a conversation", ChatBody, Completion),
    Endpoint("POST", "/v1/completions", completions, "Go on from raw prompts", CompletionBody, TextCompletion),
    Endpoint("POST", "/v1/responses", responses, "Answer, as Open Responses has it", ResponseBody, ResponseObject),
    Endpoint(
        "POST",
        "/openai/deployments/{name}/chat/completions",
        azure.chat_completions,
        "Answer a conversation, in Azure's form",
        azure.AzureChatBody,
        Completion,
    ),
    Endpoint("GET", "/v1/models", models, "The model and its adapters", answer=ModelList),
    Endpoint("GET", "/v1/models/{name:path}", model, "One of them", answer=ModelCard),
    Endpoint("POST", "/v1/load_lora_adapter", load_adapter, "Add an adapter (scope admin)", LoadBody, ModelCard),
    Endpoint("POST", "/v1/unload_lora_adapter", unload_adapter, "Remove an adapter (scope admin)", UnloadBody),
    Endpoint("POST", "/tokenize", tokenize, "The token ids of a prompt", TokenizeBody, Tokens),
    Endpoint("POST", "/detokenize", detokenize, "The text of token ids", DetokenizeBody, Text),
    Endpoint("GET", "/metrics", metrics, "Figures for Prometheus (scope admin)"),
    Endpoint("GET", "/health", health, "Whether the server takes requests"),
    Endpoint("GET", "/version", version, "The version of phi4mm"),
)

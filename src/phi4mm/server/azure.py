"""Azure's form of chat: the model in the path, a version in the query, the key in the header `api-key`."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from phi4mm.config.validate import shown
from phi4mm.server.chat import answer_chat
from phi4mm.server.chat_schema import ChatBody
from phi4mm.server.errors import ApiError
from phi4mm.server.json_body import read_json
from phi4mm.server.service import Service

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")  # any: what a request holds is checked field by field


class AzureChatBody(ChatBody, kw_only=True):
    """A chat whose model may be in the path alone."""

    model: str = ""


async def chat_completions(request: Request) -> Response:
    """Answer a chat for the deployment in the path, which is the model's name."""
    service: Service = request.app.state.service
    version = request.query_params.get("api-version", "")
    if not _VERSION.fullmatch(version):
        raise ApiError(400, f"api-version is {shown(version)}; expected a date as 2024-10-21", param="api-version")
    body = await read_json(request, AzureChatBody, service.settings.max_body_bytes)
    body.model = request.path_params["name"]
    return await answer_chat(request, body)

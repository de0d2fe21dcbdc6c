"""POST /v1/load_lora_adapter and /v1/unload_lora_adapter, in vLLM's form; for keys of scope admin."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from phi4mm.config.model import ADAPTER_FOLDERS
from phi4mm.errors import CapacityError
from phi4mm.server.chat_schema import Strict, Text
from phi4mm.server.errors import ApiError, json_response
from phi4mm.server.json_body import read_json
from phi4mm.server.models import ModelCard
from phi4mm.server.service import Service


class LoadBody(Strict):
    """A LoRA in PEFT's format, in a folder that the server can read."""

    lora_name: Text
    lora_path: Text


class UnloadBody(Strict):
    """The name of an adapter."""

    lora_name: Text


async def load_adapter(request: Request) -> Response:
    """Add an adapter; requests may name it as their model from now on."""
    service: Service = request.app.state.service
    body = await read_json(request, LoadBody, service.settings.max_body_bytes)
    if body.lora_name == service.name:
        raise ApiError(400, "lora_name is the name of the model itself; choose another", param="lora_name")
    await asyncio.to_thread(service.model.add_adapter, body.lora_name, body.lora_path)
    return json_response(ModelCard(body.lora_name, service.started, service.name))


async def unload_adapter(request: Request) -> Response:
    """Remove an adapter that no request uses."""
    service: Service = request.app.state.service
    body = await read_json(request, UnloadBody, service.settings.max_body_bytes)
    if body.lora_name not in service.model.adapters:
        raise ApiError(404, "there is no adapter of that name", param="lora_name", code="model_not_found")
    if body.lora_name in ADAPTER_FOLDERS:  # without it media would fail until the next start
        raise ApiError(400, "lora_name is an adapter of the model itself, which it needs", param="lora_name")
    try:
        await asyncio.to_thread(service.model.remove_adapter, body.lora_name)
    except CapacityError as error:
        raise ApiError(409, str(error), param="lora_name", code="in_use") from None
    return json_response({"id": body.lora_name, "object": "model", "deleted": True})

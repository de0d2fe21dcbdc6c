"""GET /openapi.json: the routes and the forms of their bodies and answers, from the types that check them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.server.access import OPEN
from phi4mm.server.endpoints import ENDPOINTS, Endpoint
from phi4mm.server.errors import ErrorBody, json_response

REFERENCE = "#/components/schemas/{name}"


async def openapi(request: Request) -> Response:
    """The description, in OpenAPI 3.1."""
    return json_response(description(request.app.state.service.settings.has_keys))


@cache
def description(has_keys: bool) -> dict[str, Any]:
    """The whole document; whether clients need a key depends on the server."""
    kinds = [kind for each in ENDPOINTS for kind in (each.body, each.answer) if kind is not None]
    kinds = [*dict.fromkeys(kinds), ErrorBody]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    found = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for each in ENDPOINTS:
        paths.setdefault(each.path.replace(":path", ""), {})[each.method.lower()] = _operation(each, found)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "phi4mm", "version": version("phi4mm")},
        "paths": paths,
        "components": {"schemas": components},
    }
    if has_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _operation(endpoint: Endpoint, schemas: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    error = {"description": "Refused or failed", "content": {"application/json": {"schema": schemas[ErrorBody]}}}
    content: dict[str, Any] = {"description": "Done"}
    if endpoint.answer is not None:
        content["content"] = {"application/json": {"schema": schemas[endpoint.answer]}}
        if endpoint.body is not None and "stream" in endpoint.body.__struct_fields__:
            content["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__module__.rpartition(".")[2] + "_" + endpoint.handler.__name__,
        "summary": endpoint.summary,
        "responses": {"200": content, "default": error},
    }
    if endpoint.path in OPEN:
        operation["security"] = []
    parameters = []
    if "{name" in endpoint.path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    if endpoint.path.startswith("/openai/"):
        date = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}(-preview)?$"}
        parameters.append({"name": "api-version", "in": "query", "required": True, "schema": date})
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[endpoint.body]}},
        }
    return operation

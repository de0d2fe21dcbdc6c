"""GET /v1/models: the model, and its adapters as models of their own."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from phi4mm.config.validate import shown
from phi4mm.protocol.inputs import Adapter
from phi4mm.protocol.request import AUTO
from phi4mm.server.errors import ApiError, json_response
from phi4mm.server.service import Service


class ModelCard(msgspec.Struct, frozen=True):
    """A name for the `model` of a request. An adapter is owned by the model that it belongs to."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """All of them."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


async def models(request: Request) -> Response:
    """The list of names."""
    return json_response(ModelList(_cards(request.app.state.service)))


async def model(request: Request) -> Response:
    """One of them."""
    name = request.path_params["name"]
    for card in _cards(request.app.state.service):
        if card.id == name:
            return json_response(card)
    raise _unknown(request.app.state.service, name)


def adapter_of(service: Service, name: str) -> Adapter | None:
    """The adapter for a request of the model `name`. Raises ApiError for a name that there is not."""
    if name == service.name:
        return AUTO
    if name in service.model.adapters:
        return name
    raise _unknown(service, name)


def _cards(service: Service) -> list[ModelCard]:
    base = ModelCard(service.name, service.started, "phi4mm")
    return [base, *(ModelCard(name, service.started, service.name) for name in service.model.adapters)]


def _unknown(service: Service, name: str) -> ApiError:
    known = ", ".join([service.name, *service.model.adapters])
    return ApiError(
        404, f"there is no model {shown(name)}; expected one of {known}", param="model", code="model_not_found"
    )

"""The pages, held in memory: no address reads a file."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from longtail.explorer.api_page import STYLE, api_page
from longtail.explorer.errors import NotThereError

__all__ = ["page_routes"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}


def page_routes() -> APIRouter:
    """The front end and the description of the API."""
    held = {
        entry.name: entry.read_bytes()
        for entry in files("longtail.explorer").joinpath("static").iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }
    router = APIRouter(include_in_schema=False)

    def page(name: str) -> Response:
        if name not in held:
            raise NotThereError("There is nothing at this address.")
        return Response(held[name], media_type=_TYPES[name.rpartition(".")[2]])

    @router.get("/")
    async def index() -> Response:
        return page("index.html")

    @router.get("/static/{name}")
    async def asset(name: str) -> Response:
        return page(name)

    @router.get("/docs")
    def docs(request: Request) -> Response:
        return Response(api_page(request.app.openapi()), media_type=_TYPES["html"])

    @router.get("/docs.css")
    async def docs_style() -> Response:
        return Response(STYLE, media_type=_TYPES["css"])

    return router

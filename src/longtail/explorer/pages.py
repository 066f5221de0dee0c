"""The pages, held in memory: no address reads a file."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

from longtail.explorer.errors import NotThereError

__all__ = ["page_routes"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def page_routes() -> APIRouter:
    """The front end and the documentation of the API."""
    held = {
        entry.name: entry.read_bytes()
        for entry in files("longtail.explorer").joinpath("static").iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }
    router = APIRouter(include_in_schema=False)

    def page(name: str) -> Response:
        return Response(held[name], media_type=_TYPES[name.rpartition(".")[2]])

    @router.get("/")
    async def index() -> Response:
        return page("index.html")

    @router.get("/docs")
    async def docs() -> Response:
        return page("docs.html")

    @router.get("/static/{name}")
    async def asset(name: str) -> Response:
        if name not in held:
            raise NotThereError("There is nothing at this address.")
        return page(name)

    return router

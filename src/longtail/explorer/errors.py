"""From faults to answers that say what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from longtail.errors import LongtailError
from longtail.explorer.responses import ErrorAnswer

__all__ = ["BusyError", "NotThereError", "NothingKnownError", "add_error_handlers", "problem"]

_LONGEST = 2_000  # characters of a message: names may be long
_WORDS = {404: "There is nothing at this address.", 405: "This address has another method."}


class BusyError(Exception):
    """Too many rows wait already, or the server is stopping."""


class NotThereError(Exception):
    """What was asked for by number does not exist."""


class NothingKnownError(Exception):
    """The model knows none of the features in a request."""


def problem(status: int, message: str, faults: Sequence[dict[str, str]] = ()) -> JSONResponse:
    """An answer that says what went wrong."""
    error = {"message": _plain(message), "faults": list(faults)}
    answer = ErrorAnswer.model_validate({"error": error})
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(answer.model_dump(), status_code=status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every fault in the one form."""

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [_fault(e) for e in error.errors()[:10]]
        first = faults[0] if faults else {"where": "", "message": ""}
        return problem(422, f"{first['where']}: {first['message']}", faults)

    @app.exception_handler(LongtailError)
    @app.exception_handler(NothingKnownError)
    async def _refused(request: Request, error: Exception) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(NotThereError)
    async def _not_there(request: Request, error: NotThereError) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(BusyError)
    async def _busy(request: Request, error: BusyError) -> JSONResponse:
        return problem(503, str(error))

    @app.exception_handler(Exception)
    async def _failed(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "The server failed to answer; its own output says why.")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(error.status_code, _WORDS.get(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer


def _fault(error: Any) -> dict[str, str]:
    """One fault, in words; what was sent is not repeated: it may be long, or no valid text."""
    message = str(error["msg"]).removeprefix("Value error, ")
    return {"where": _plain(_place(error["loc"])), "message": _plain(message)}


def _place(loc: Sequence[Any]) -> str:
    """rows[0].counts['kernel'], from pydantic's (body, rows, 0, counts, counts, kernel)."""
    parts = list(loc[1:]) if loc and loc[0] in ("body", "query", "path") else list(loc)
    text, in_mapping = "", False
    for i, part in enumerate(parts):
        if isinstance(part, int):
            text += f"[{part}]"
        elif i and isinstance(parts[i - 1], int) and part in ("text", "counts", "items"):
            continue  # the name of the union's branch
        elif part == "[key]":
            text += " (its name)"
        elif in_mapping:
            text += f"[{part[:60]!r}]"
        else:
            text += f".{part}" if text else str(part)
            in_mapping = part == "counts"
    return text or "the body"


def _plain(text: str) -> str:
    """A text that can be encoded, and is not endless."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return short.encode("utf-8", "replace").decode("utf-8")

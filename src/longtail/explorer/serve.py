"""Serve the application until it is told to stop."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from longtail.errors import MissingExtraError, ParameterError

if TYPE_CHECKING:
    from longtail.explorer.desk import Desk

__all__ = ["bind", "load_server", "serve"]

_LAST_ANSWERS = 5  # seconds that requests have to end when the server is stopped


def load_server() -> Any:
    """The web server's module, imported when it is wanted.

    Raises
    ------
    MissingExtraError
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            "The explorer needs FastAPI and uvicorn, which the extra brings: "
            "pip install 'longtail[explore]'."
        ) from error
    return uvicorn


def bind(host: str, port: int) -> socket.socket:
    """Take an address, before the long work of computing what to serve there.

    Raises
    ------
    ParameterError
        If it is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends small answers at once (TCP_NODELAY).
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise ParameterError(
            f"Cannot serve at {host}, port {port}: {error.strerror or error}. Choose another "
            "--port (0 takes any free one), or another --host."
        ) from error
    return taken


def url_of(bound: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(desk: Desk, bound: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve a desk until SIGINT or SIGTERM; requests at work may end.

    Parameters
    ----------
    desk
        What answers.
    bound
        See `bind`. On an address of the loop back to this machine, only its own names are
        answered to; elsewhere any name.
    ready
        Called with the address once requests are answered.

    Raises
    ------
    MissingExtraError
    """
    uvicorn = load_server()
    from longtail.explorer.app import LOCAL, create_app

    class Server(uvicorn.Server):  # type: ignore[name-defined]  # imported when wanted
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready(url_of(bound))

    local = ipaddress.ip_address(bound.getsockname()[0]).is_loopback
    config = uvicorn.Config(
        create_app(desk, LOCAL if local else ("*",)),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
        lifespan="on",
    )
    Server(config).run(sockets=[bound])

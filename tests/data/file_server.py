"""A server on this machine that can do to a download what the network may do."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """What it serves, by file name; how; and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.ranges: list[str | None] = []  # the header Range of each request
        self.validators: dict[str, str] = {}  # headers such as ETag
        self.serves_ranges = True
        self.heeds_if_range = True
        self.announces_length = True
        self.content_range = "bytes {start}-{end}/{size}"
        self.statuses: Iterator[int] = iter(())  # errors to answer with first
        self.cuts: Iterator[int | None] = iter(())  # after how many bytes each answer ends
        self.hold: threading.Event | None = None  # what a cut waits for before it comes
        self.resets = False  # whether a cut connection is reset, not closed
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.http.handle_error = lambda *_: None  # clients that are killed
        self.url = f"http://127.0.0.1:{self.http.server_port}/files"


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            server.asked.append(name)
            server.ranges.append(self.headers.get("Range"))
            status = next(server.statuses, None if name in server.files else 404)
            if status is not None:
                self.send_error(status)
                return
            content = server.files[name]
            start = self._start()
            if start is not None and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self._send(content, start)

        def _start(self) -> int | None:
            """Where the range starts that is to be served, if one is."""
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            is_same = self.headers.get("If-Range") in server.validators.values()
            if not (asked and server.serves_ranges and (is_same or not server.heeds_if_range)):
                return None
            return int(asked[1])

        def _send(self, content: bytes, start: int | None) -> None:
            self.send_response(200 if start is None else 206)
            for header, value in server.validators.items():
                self.send_header(header, value)
            if start is not None:
                fields = {"start": start, "end": len(content) - 1, "size": len(content)}
                self.send_header("Content-Range", server.content_range.format(**fields))
            body = content[start or 0 :]
            if server.announces_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = next(server.cuts, None)
            self.wfile.write(body[:cut])
            if cut is None:
                return
            if server.hold is not None:
                server.hold.wait(60)
            if server.resets:
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing on standard error."""

    return Handler

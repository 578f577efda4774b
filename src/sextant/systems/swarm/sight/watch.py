"""The page on which a flight is watched, from a record that may still be growing."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sextant.errors import EngineError, InputError

_PAGE = Path(__file__).with_name("page.html")
_MOST_LINES = 2000


class Lines:
    """The lines of a record, also while its flight goes on."""

    def __init__(self, record: Path) -> None:
        """Name the file.

        Raises:
            InputError: there is none, and none that is being written.
        """
        self._ways = (record, record.with_name(record.name + ".part"))
        if not any(path.is_file() for path in self._ways):
            raise InputError("no such record", where=str(record), hint="swarm fly --record FILE")

    def after(self, number: int) -> list[str]:
        """The whole lines after so many, a bounded number of them."""
        for path in self._ways:
            try:
                text = path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            # What follows the last end of a line is still being written.
            return text.split("\n")[:-1][number : number + _MOST_LINES]
        return []


class _Handler(BaseHTTPRequestHandler):
    lines: Lines

    def do_GET(self) -> None:
        """The page, or lines of the flight."""
        asked = urlsplit(self.path)
        if asked.path == "/":
            self._answer(_PAGE.read_bytes(), "text/html; charset=utf-8")
        elif asked.path == "/lines":
            after = parse_qs(asked.query).get("after", ["0"])[0]
            number = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else 0
            body = f"[{','.join(self.lines.after(number))}]"
            json.loads(body)
            self._answer(body.encode(), "application/json")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of each request."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)


def server(record: Path, port: int) -> ThreadingHTTPServer:
    """A server of the page on this machine only; 0 takes a free port.

    Raises:
        InputError: there is no such record.
        EngineError: the port is taken.
    """
    handler = type("Handler", (_Handler,), {"lines": Lines(record)})
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise EngineError(f"port {port}: {error.strerror}") from error

"""The page on which a flight is watched, from a record that may still be growing."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sextant.errors import EngineError, InputError

_PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/mark.svg": ("mark.svg", "image/svg+xml"),
    "/watch.css": ("watch.css", "text/css; charset=utf-8"),
    **{
        f"/{name}": (name, "text/javascript; charset=utf-8")
        for name in ("watch.js", "flight.js", "map.js", "charts.js")
    },
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
)
_HOSTS = ("127.0.0.1", "localhost")
_MOST_BYTES = 1 << 20
_MOST_DIGITS = 15


class NoLineError(InputError):
    """Who asks for lines names a byte at which none begins."""


class Lines:
    """The lines of a record, also while its flight goes on."""

    def __init__(self, record: Path) -> None:
        """Name the file.

        Raises:
            InputError: there is none, and none that is being written, or it is no record.
        """
        self._ways = (record.with_name(record.name + ".part"), record)
        if self._newest() is None:
            raise InputError("no such record", where=str(record), hint="swarm fly --record FILE")
        first, _ = self.after(0, most_lines=1)
        if first and _kind(first[0]) != "start":
            raise InputError("not a record of a flight", where=str(record))

    def after(self, begin: int, *, most_lines: int | None = None) -> tuple[list[str], int]:
        """The whole lines from a byte on, a bounded number of bytes, and where the next begins.

        Raises:
            NoLineError: none begins at that byte.
            InputError: one of them is no line of a flight.
        """
        path = self._newest()
        if path is None:
            return [], begin
        with path.open("rb") as file:
            # No file is asked for a place so far off that its file system knows none.
            if begin > 0:
                file.seek(min(begin, path.stat().st_size + 1) - 1)
                if file.read(1) != b"\n":
                    raise NoLineError(f"no line begins at byte {begin}")
            text = file.read(_MOST_BYTES)
            # What follows the last end of a line is still being written; a line may be long.
            while b"\n" not in text and (more := file.read(_MOST_BYTES)):
                text += more
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.decode("utf-8", "replace").splitlines()[:most_lines]
        for line in lines:
            if _kind(line) is None:
                raise InputError("not a record of a flight", where=str(path))
        return lines, begin + len(whole)

    def _newest(self) -> Path | None:
        """The file itself, or what is being written to take its place."""
        there = [path for path in self._ways if path.is_file()]
        return max(there, key=lambda path: path.stat().st_mtime, default=None)


def _kind(line: str) -> str | None:
    try:
        read = json.loads(line)
    except ValueError:
        return None
    return read.get("kind") if isinstance(read, dict) else None


def newest_record(folder: Path) -> Path:
    """The flight of a folder that was written to last.

    Raises:
        InputError: there is none.
    """
    found = [*folder.glob("*.jsonl"), *folder.glob("*.jsonl.part")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        with path.open("rb") as file:
            if file.read(16).startswith(b'{"kind":"start"'):
                return path.with_name(path.name.removesuffix(".part"))
    raise InputError("no record of a flight here", where="--record", hint="--record flight.jsonl")


class _Handler(BaseHTTPRequestHandler):
    lines: Lines
    timeout = 30.0

    def do_GET(self) -> None:
        """The page, or lines of the flight."""
        try:
            asked = urlsplit(self.path)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in _HOSTS:
            # A page elsewhere whose name was pointed at this machine reads nothing.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif asked.path in _FILES:
            name, kind = _FILES[asked.path]
            self._answer((_PAGE / name).read_bytes(), kind)
        elif asked.path == "/lines":
            self._answer_lines(asked.query)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of each request."""

    def _answer_lines(self, query: str) -> None:
        try:
            lines, after = self.lines.after(_begin(query))
        except InputError as error:
            asked_wrong = isinstance(error, NoLineError)
            status = HTTPStatus.BAD_REQUEST if asked_wrong else HTTPStatus.INTERNAL_SERVER_ERROR
            self._answer(json.dumps({"error": str(error)}).encode(), status=status)
            return
        self._answer(f'{{"next":{after},"lines":[{",".join(lines)}]}}'.encode())

    def _answer(
        self,
        body: bytes,
        kind: str = "application/json",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)


def _begin(query: str) -> int:
    """The byte from which lines are asked for; 0 if none is named."""
    try:
        named = parse_qs(query, keep_blank_values=True).get("from", ["0"])
    except ValueError as error:
        raise NoLineError(f"not a query: {error}") from error
    text = named[0]
    if len(named) > 1 or not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise NoLineError("from is a number of bytes, once")
    return int(text)


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def server(record: Path, port: int) -> ThreadingHTTPServer:
    """A server of the page on this machine only; 0 takes a free port.

    Raises:
        InputError: there is no such record.
        EngineError: the port is taken.
    """
    handler = type("Handler", (_Handler,), {"lines": Lines(record)})
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise EngineError(f"port {port}: {error.strerror}") from error

"""Who asks: bearer tokens out of a file, and the groups that each one stands for."""

from __future__ import annotations

import hashlib
import hmac
import stat
from dataclasses import dataclass
from pathlib import Path

from sextant.errors import InputError
from sextant.systems.rag.serve.refusal import Refusal

_LEAST_CHARS = 16
_EVERYTHING = "*"
_COMMENT = "#"
_FORM = "one a line, at least 16 characters, then its groups; * for a token that sees everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks: the groups they belong to (None sees every document), and whether a token said so.

    `groups` is empty for a caller who sees only what everybody may read.
    """

    groups: tuple[str, ...] | None
    by_token: bool

    @property
    def trusted(self) -> bool:
        """Whether they may change the index and stop shards."""
        return self.groups is None


LOCAL = Caller(groups=None, by_token=False)
"""Somebody on this machine, where no tokens are in use."""


class Tokens:
    """The tokens of a file. Only their digests are kept."""

    def __init__(self, groups_by_digest: dict[bytes, tuple[str, ...] | None]) -> None:
        self._groups = groups_by_digest

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Read `token group group...` lines; a line that begins with `#` is a comment.

        Raises:
            InputError: the file cannot be read, is empty, or a line is wrong. No token is shown.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InputError(f"cannot read the tokens: {why}", where=str(path)) from error
        found: dict[bytes, tuple[str, ...] | None] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith(_COMMENT):
                continue
            token, groups = words[0], words[1:]
            if len(token) < _LEAST_CHARS or not token.isascii():
                raise InputError("not a token", where=f"{path}:{number}", hint=_FORM)
            if any(group.startswith(_COMMENT) for group in groups):
                # Its words would be groups, and give rights that nobody meant.
                what = "a comment behind a token"
                raise InputError(what, where=f"{path}:{number}", hint="on a line of its own")
            if _EVERYTHING in groups[1:] or groups[:1] == [_EVERYTHING] != groups:
                raise InputError("* stands alone", where=f"{path}:{number}", hint=_FORM)
            if _digest(token) in found:
                raise InputError("a token stands twice", where=f"{path}:{number}")
            found[_digest(token)] = None if groups == [_EVERYTHING] else tuple(groups)
        if not found:
            raise InputError("there is no token in it", where=str(path), hint=_FORM)
        return cls(found)

    def __len__(self) -> int:
        return len(self._groups)

    def caller(self, authorization: str | None) -> Caller:
        """Who an `Authorization` header speaks for.

        Raises:
            Refusal: 401; there is no token, or an unknown one.
        """
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        # Every known digest is compared in full: how long it takes says nothing of a near miss.
        matches = [known for known in self._groups if hmac.compare_digest(known, given)]
        if scheme.lower() != "bearer" or not matches:
            raise Refusal(
                401,
                "no valid token",
                where="Authorization",
                hint="Authorization: Bearer TOKEN, with a token of the server's token file",
                why="token",
            )
        return Caller(groups=self._groups[matches[0]], by_token=True)


def is_open_to_others(path: Path) -> bool:
    """Whether others on this machine may read the file."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", errors="surrogateescape")).digest()

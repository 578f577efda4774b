"""A request that is not answered: the status, and what went wrong, where, and what to do."""

from __future__ import annotations

import math
import re
from typing import Any

from sextant.errors import InputError, SextantError

_PATH = re.compile(r"(?<![\w.])/(?:[^\s:/]+/)*(?=[^\s:/])")


def homeless(why: str) -> str:
    """A reason with its paths cut to their last part: where the index lies is nobody's business."""
    return _PATH.sub("", why)


class Refusal(Exception):  # noqa: N818
    """Why a request is not answered, in the words of `sextant.errors`.

    Attributes:
        status: of HTTP.
        retry_after_s: when to ask again, where that is known.
        why: one word for the counters.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        why: str = "input",
    ) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.where = where
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.why = why

    @classmethod
    def of(cls, error: SextantError) -> Refusal:
        """The refusal that an error of the service comes to: 422 for wrong input, else 503."""
        if isinstance(error, InputError):
            return cls(422, error.what, where=error.where, hint=error.hint)
        return cls(503, error.what, where=error.where, hint=error.hint, why="engine")

    def as_json(self) -> dict[str, Any]:
        """`{error, where, hint}`, and `retry_after_s` where it helps to ask again."""
        told: dict[str, Any] = {"error": self.what, "where": self.where, "hint": self.hint}
        if self.retry_after_s is not None:
            told["retry_after_s"] = round(self.retry_after_s, 3)
        return told

    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, as HTTP has it, and the scheme of a missing token."""
        told = {}
        if self.retry_after_s is not None:
            told["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status in (408, 413):
            # Its sender may still be at it; what comes now is no next request.
            told["Connection"] = "close"
        if self.status == 401:
            told["WWW-Authenticate"] = "Bearer"
        return told

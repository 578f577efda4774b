"""What a caller wants of a search beside the question, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sextant.errors import InputError
from sextant.search.filters import Filter, parse_filter
from sextant.search.wire import Mode

DEFAULT_MODE = Mode.HYBRID
"""The better one on every set it was measured on: docs/log.md."""
FilterLike = Filter | Mapping[str, Any] | str
"""A filter that was parsed, the object that it is written as, or that as JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """How to search, and among which documents.

    Groups of None are those of whoever may read the index's files anyway; an empty tuple sees what
    everybody may read.
    """

    k: int
    mode: Mode = Mode.DENSE
    filter: Filter | None = None
    groups: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        k: int,
        mode: str | None,
        filter: FilterLike | None,  # noqa: A002
        groups: Sequence[str] | None,
        *,
        has_text: bool,
    ) -> Wanted:
        """What a caller wrote.

        Args:
            k: hits.
            mode: dense, lexical or hybrid; None is the default, or dense for a mere vector.
            filter: conditions on the fields of documents.
            groups: the caller's.
            has_text: whether the question is a text; a vector has no words.

        Raises:
            InputError: any of them is wrong.
        """
        if isinstance(groups, str):
            raise InputError("a list of names, not one string", where="groups")
        found = _mode(mode, has_text)
        if found != Mode.DENSE and not has_text:
            raise InputError(f"{found} search needs a question in words", where="mode")
        if filter is not None and not isinstance(filter, Filter):
            filter = parse_filter(filter)  # noqa: A001
        return cls(k=k, mode=found, filter=filter, groups=None if groups is None else tuple(groups))


def _mode(mode: str | None, has_text: bool) -> Mode:
    if mode is None:
        return DEFAULT_MODE if has_text else Mode.DENSE
    try:
        return Mode(mode)
    except ValueError:
        raise InputError(
            f"no mode {mode!r}", where="mode", hint=f"one of {', '.join(Mode)}"
        ) from None

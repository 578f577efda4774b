"""A fleet's card: all that a process needs to attach to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from sextant.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """Where a fleet is to be found, as seen from one node; whoever has it may ask the fleet.

    Attributes:
        fleet: its random name.
        endpoints: of those who asked when the card was written; one that lives is enough.
        node: the node that the card is for.
        host: the address of that node, where the attached process listens.
    """

    fleet: str
    endpoints: tuple[str, ...]
    node: str
    host: str

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The card in a line of JSON.

        Raises:
            InputError: it is none.
        """
        try:
            return cls.of(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"not the card of a fleet: {text[:80]!r}") from error

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """The card that `asdict` made plain; raises `TypeError` or `KeyError` on anything else."""
        return cls(**{**plain, "endpoints": tuple(plain["endpoints"])})

"""All that the process of a member is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sextant.errors import InputError
from sextant.fleet import messages


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """Plain data, read by `host` from its standard input.

    Attributes:
        name: of the process: the member's, or that of one of its replicas.
        epoch: its incarnation.
        factory: of the member, with `arguments` as keywords.
        path: where the driver imports from; the factory is looked for there too.
        card: the fleet's card, as for its node.
        beat_s: how often it speaks without being asked.
        queue_limit: requests that may wait.
        orphaned_after_s: when to end if no asker is heard.
    """

    name: str
    epoch: int
    factory: str
    arguments: Mapping[str, Any]
    path: Sequence[str]
    card: Mapping[str, Any]
    beat_s: float
    queue_limit: int
    orphaned_after_s: float

    def pack(self) -> bytes:
        """As bytes.

        Raises:
            InputError: the arguments are not plain data.
        """
        try:
            return messages.pack(asdict(self))
        except TypeError as error:
            what = f"arguments that are not plain data: {error}"
            raise InputError(what, where=self.name) from error

    @classmethod
    def unpack(cls, raw: bytes) -> Orders:
        """The orders that were packed."""
        return cls(**messages.unpack(raw))

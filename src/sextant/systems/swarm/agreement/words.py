"""What drones say to each other: one message a tick, in MessagePack; nothing is ever unpickled."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np

from sextant.errors import InputError, missing_engine
from sextant.systems.swarm.agreement.auction import Beliefs, Claim
from sextant.systems.swarm.agreement.neighbours import Neighbour, Promise
from sextant.systems.swarm.agreement.shared_map import Change, is_evidence
from sextant.systems.swarm.agreement.targets import Estimate

MOST_BYTES = 1 << 20
_VERSION, _HEARD = struct.Struct("<II"), struct.Struct("<Hd")
_CLAIM, _NOBODY = struct.Struct("<Iid"), -1
_MOST_NAME, _MOST_NUMBER, _MOST_SIGHTINGS = 0xFFFF, 0xFFFFFFFF, 1_000_000
_FARTHEST_M, _MOST_POINTS = 1e7, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One drone's word.

    Attributes:
        speaker: its name, the time, and where it flies.
        mission: words of another mission are not heard.
        abort: everybody shall land; once true it spreads and stays.
        changes: of the shared map.
        versions: how much of the map it knows; not in every word.
        beliefs: of the auction; not in every word.
        estimates: of targets; not in every word.
    """

    speaker: Neighbour
    mission: int
    abort: bool = False
    changes: tuple[Change, ...] = ()
    versions: Mapping[int, int] | None = None
    beliefs: Beliefs | None = None
    estimates: Mapping[tuple[int, int], Estimate] = field(default_factory=dict)

    def pack(self) -> bytes:
        """The message."""
        who, beliefs = self.speaker, self.beliefs
        told = {
            "who": [who.name, who.at_s, *who.position_2, *who.velocity_2, who.landed, who.boot],
            "flies": [_promised(who.promise), who.rank, [list(point) for point in who.way_2]],
            "mission": self.mission,
            "abort": self.abort,
            "changes": [_packed(change) for change in self.changes],
            "versions": None if self.versions is None else _rows(_VERSION, self.versions.items()),
            "claims": beliefs and _rows(_CLAIM, _claims(beliefs)),
            "heard": beliefs and _rows(_HEARD, beliefs.heard_s.items()),
            "targets": [[*k, *e] for k, e in self.estimates.items()],
        }
        return bytes(_msgpack().packb(told))

    @classmethod
    @lru_cache(maxsize=64)
    def unpack(cls, body: bytes, num_cells: int) -> Word:
        """The word in a message; who reads the same bytes again is given the same word.

        Raises:
            InputError: it is none, or speaks of cells that are not on the chart.
        """
        if len(body) > MOST_BYTES:
            raise InputError(f"a word of {len(body)} bytes")
        try:
            told = _msgpack().unpackb(body, strict_map_key=False)
            speaker = _speaker(told)
            versions = told["versions"]
            return cls(
                speaker=speaker,
                mission=int(told["mission"]),
                abort=told["abort"] is True,
                changes=tuple(_unpacked(change, num_cells) for change in told["changes"]),
                versions=None if versions is None else dict(_VERSION.iter_unpack(versions)),
                beliefs=_beliefs(told, speaker),
                estimates={
                    (_whole(s, _MOST_NUMBER), _whole(i, _MOST_NUMBER)): _estimate(x, y, n)
                    for s, i, x, y, n in told["targets"]
                },
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(f"not a word: {error}") from error
        except (struct.error, _msgpack().UnpackException) as error:
            raise InputError(f"not a word: {error}") from error


def _rows(form: struct.Struct, rows: Iterable[tuple[Any, ...]]) -> bytes:
    """Rows of numbers, one after the other: a swarm reads many, and this is read the quickest."""
    return b"".join(form.pack(*row) for row in rows)


def _claims(beliefs: Beliefs) -> Iterable[tuple[int, int, float]]:
    for task, (winner, bid) in beliefs.claims.items():
        yield task, _NOBODY if winner is None else winner, bid


def _speaker(told: Any) -> Neighbour:
    name, at_s, x, y, u, v, landed, boot = told["who"]
    promised, rank, way = told["flies"]
    _check(at_s, x, y, u, v, rank)
    if len(way) > _MOST_POINTS:
        raise ValueError("a way out of bounds")
    points = tuple((float(x), float(y)) for x, y in way)
    _check(*chain(*points))
    return Neighbour(
        name=_whole(name, _MOST_NAME),
        at_s=float(at_s),
        position_2=np.array((x, y), np.float64),
        velocity_2=np.array((u, v), np.float64),
        landed=bool(landed),
        promise=None if promised is None else _promise(*promised),
        rank=float(rank),
        way_2=points,
        boot=_whole(boot, _MOST_NAME),
    )


def _promised(promise: Promise | None) -> list[float] | None:
    return None if promise is None else [*promise.course, promise.veer_m_s]


def _promise(across: Any, up: Any, veer: Any) -> Promise:
    _check(across, up, veer)
    if veer < 0.0 or max(abs(across), abs(up), veer) > _FARTHEST_M:
        raise ValueError("a promise out of bounds")
    return Promise(course=(float(across), float(up)), veer_m_s=float(veer))


def _packed(change: Change) -> list[Any]:
    return [
        change.source,
        change.after,
        change.upto,
        change.cells_K.astype("<i4").tobytes(),
        change.values_K.tobytes(),
        (change.stamps_K - change.after).astype("<u4").tobytes(),
    ]


def _unpacked(told: Any, num_cells: int) -> Change:
    source, after, upto, cells, values, stamps = told
    source, upto = _whole(source, _MOST_NUMBER), _whole(upto, _MOST_NUMBER)
    after = _whole(after, upto)
    cells_K = np.frombuffer(cells, "<u4")
    values_K = np.frombuffer(values, np.int8)
    stamps_K = np.frombuffer(stamps, "<u4").astype(np.int64) + after
    if not len(cells_K) == len(values_K) == len(stamps_K):
        raise ValueError("a change whose parts differ in length")
    # Most have few cells, for which a set is quicker than an array.
    numbers = cells_K.tolist()
    if max(numbers, default=0) >= num_cells:
        raise ValueError("a change outside the chart")
    if len(set(numbers)) < len(numbers) or not is_evidence(values_K):
        raise ValueError("a cell twice, or evidence beyond its bounds")
    if len(stamps_K) and np.maximum.reduce(stamps_K) > upto:
        raise ValueError("stamps that do not rise")
    return Change(
        source=source,
        after=after,
        upto=upto,
        cells_K=cells_K.view(np.int32),
        values_K=values_K,
        stamps_K=stamps_K,
    )


def _beliefs(told: Any, speaker: Neighbour) -> Beliefs | None:
    if told["claims"] is None:
        return None
    claims = {
        task: Claim(None if winner < 0 else winner, bid)
        for task, winner, bid in _CLAIM.iter_unpack(told["claims"])
    }
    heard_s = dict(_HEARD.iter_unpack(told["heard"]))
    _check(*heard_s.values(), *(claim.bid for claim in claims.values()))
    return Beliefs(sender=speaker.name, at_s=speaker.at_s, claims=claims, heard_s=heard_s)


def _check(*numbers: Any) -> None:
    if not all(map(isfinite, numbers)):
        raise ValueError("a place, time or bid that is no number")


def _whole(number: Any, most: int) -> int:
    if type(number) is not int or not 0 <= number <= most:
        raise ValueError(f"not a whole number up to {most}")
    return number


def _estimate(x: Any, y: Any, sightings: Any) -> Estimate:
    _check(x, y)
    if max(abs(x), abs(y)) > _FARTHEST_M or _whole(sightings, _MOST_SIGHTINGS) < 1:
        raise ValueError("a target out of bounds")
    return Estimate(float(x), float(y), sightings)


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError:
        raise missing_engine("msgpack", "swarm") from None
    return msgpack

"""Sizes, times and rates as people write them, and back again; all else is in SI base units."""

from __future__ import annotations

import math
import re

_PREFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}

SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "week": 604800.0,
    "month": 2629746.0,
    "year": 31556952.0,
}
BYTES = {p + "B": f for p, f in (_PREFIXES | _BINARY).items()} | {"byte": 1.0, "kB": 1e3}
BYTES_PER_S = {f"{p}B/s": f for p, f in (_PREFIXES | _BINARY).items()} | {
    f"{p}{bit}{per}": f / 8
    for p, f in _PREFIXES.items()
    for bit, per in (("bit", "/s"), ("b", "/s"), ("bps", ""))
}
METRES = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
METRES_PER_S = {"m/s": 1.0, "km/h": 1 / 3.6}
COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "bn": 1e9, "T": 1e12} | {
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
PER_S = {"/s": 1.0, "/min": 1 / 60.0, "/h": 1 / 3600.0, "/day": 1 / 86400.0} | {
    f"{p}/s": f for p, f in COUNT.items() if p
}
SHARE = {"%": 0.01}

_NUMBER = re.compile(  # commas between thousands only: "1,5 TB" must not be read as 15 TB
    r"^\s*(?P<number>[+-]?(?:(?:\d{1,3}(?:,\d{3})+(?![,\d])|\d[\d_]*)\.?\d*|\.\d+)"
    r"(?:[eE][+-]?\d+)?)"
    r"(?:\s*(?:\^|\*\*)\s*(?P<power>[+-]?\d+))?"
    r"(?:\s*[x×*]\s*10\s*(?:\^|\*\*)\s*(?P<ten>[+-]?\d+))?\s*(?P<unit>.*?)\s*$"
)


def parse(text: str | int | float, units: dict[str, float]) -> float:
    """Reads `"30 TB"`, `"50 ms"`, `"1e10"`, `"10^10"`, `"2x10^9"` or a plain number.

    Args:
        text: what the user wrote; a plain number is already in the base unit.
        units: the accepted units, each with its factor to the base unit.

    Raises:
        ValueError: it is not a finite number with one of the units.
    """
    if isinstance(text, bool):
        raise ValueError("a number is needed, not true or false")
    if isinstance(text, int | float):
        return _finite(text)
    match = _NUMBER.match(text) if len(text) <= 64 else None
    if not match:
        raise ValueError(f"{text[:40]!r} is not a number with a unit such as {_examples(units)}")
    value = float(match["number"].replace("_", "").replace(",", ""))
    try:
        if match["power"] is not None:
            value **= int(match["power"])
        if match["ten"] is not None:
            value *= 10.0 ** int(match["ten"])
    except (OverflowError, ZeroDivisionError):
        raise ValueError(f"{text!r} is out of range") from None
    return _finite(value * _factor(match["unit"], units, text))


_SHORTEST_PLURAL = 3
"""A word this short has no plural: the s of "10 s" and of "10 ks" is the second."""


def _factor(unit: str, units: dict[str, float], text: str) -> float:
    unit = unit.replace(" ", "")
    if unit == "":
        return 1.0
    lower = unit.lower()
    plurals = (u.removesuffix("s") for u in (unit, lower) if len(u) > _SHORTEST_PLURAL)
    for candidate in (unit, lower, *plurals):
        if candidate in units:
            return units[candidate]
    raise ValueError(f"{text!r}: unknown unit {unit!r}; use one of {_examples(units)}")


def _examples(units: dict[str, float]) -> str:
    return ", ".join([unit for unit in units if unit][:8])


def _finite(value: float) -> float:
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError("the number must be finite")
    return value


def _scaled(value: float, suffix: str) -> str:
    steps = [("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)]
    for prefix, factor in steps:
        if abs(value) >= factor * 0.9995:
            return f"{_digits(value / factor)} {prefix}{suffix}"
    return f"{_digits(value)} {suffix}".rstrip()


def _digits(value: float) -> str:
    """Four significant digits, without a trailing `.0`; exponents beyond six places."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show(value: float, unit: str) -> str:
    """Prints a value in SI base units the way a person reads it: `30.72 TB`, `42 ms`, `3.1 h`."""
    if math.isinf(value):
        return "unbounded"
    if unit == "s":
        return show_seconds(value)
    if unit in ("B", "B/s", "FLOP", "FLOP/s"):
        return _scaled(value, unit)
    if unit == "USD":
        return f"${value:,.0f}" if abs(value) >= 10 else f"${value:,.2f}"
    if unit == "fraction":
        return f"{100 * value:.3g}%"
    return f"{show_count(value)} {unit}".rstrip()


def show_seconds(value: float) -> str:
    """Prints a time: `42 ms`, `3.1 h`, `54 days`."""
    size = abs(value)
    if size == 0:
        return "0 s"
    for limit, factor, unit in ((1e-6, 1e-9, "ns"), (1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms")):
        if size < limit * 0.9995:
            return f"{_digits3(value / factor)} {unit}"
    for limit, factor, unit in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if size < limit:
            return f"{_digits3(value / factor)} {unit}"
    days = value / 86400.0
    return f"{_digits3(days)} days" if size < 3 * 31556952 else f"{_digits3(days / 365.2425)} years"


def _digits3(value: float) -> str:
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e7 else f"{value:.3g}"


def show_count(value: float) -> str:
    """Prints a count: `768`, `2 billion`, `1.5 million`."""
    for word, factor in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6)):
        if 1.0 <= abs(value) / factor < 1e4:
            return f"{_digits(value / factor)} {word}"
    return _digits(value)


def show_ratio(value: float) -> str:
    """Prints a ratio against one machine: `15.4x`, `0.03x`, `120,000x`."""
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}x" if value >= 1000 else f"{value:.3g}x"

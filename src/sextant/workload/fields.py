"""The types of a workload's fields: what people write in, SI base units out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sextant import units

LARGEST = 1e27
"""No field is larger: it keeps every product of a few of them a finite float."""
SMALLEST = 1e-12


def _reader(table: dict[str, float]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        return units.parse(value, table) if isinstance(value, str | int | float) else value

    return read


def _whole(value: Any) -> Any:
    number = _reader(units.COUNT)(value)
    if isinstance(number, float) and number != int(number):
        raise ValueError(f"{number} is not a whole number")
    return int(number) if isinstance(number, float) else number


_positive = Field(ge=SMALLEST, le=LARGEST)
_from_zero = Field(ge=0, le=LARGEST)

Count = Annotated[float, BeforeValidator(_reader(units.COUNT)), Field(ge=1, le=LARGEST)]
Number = Annotated[float, BeforeValidator(_reader(units.COUNT)), _positive]
Whole = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10**9)]
Size = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10**7)]
Parameters = Annotated[float, BeforeValidator(_reader(units.COUNT)), Field(ge=1, le=1e15)]
WholeFromZero = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=10**9)]
Bytes = Annotated[float, BeforeValidator(_reader(units.BYTES)), _positive]
Seconds = Annotated[float, BeforeValidator(_reader(units.SECONDS)), _positive]
SecondsFromZero = Annotated[float, BeforeValidator(_reader(units.SECONDS)), _from_zero]
PerSecond = Annotated[float, BeforeValidator(_reader(units.PER_S)), _positive]
BytesPerSecond = Annotated[float, BeforeValidator(_reader(units.BYTES_PER_S)), _positive]
Metres = Annotated[float, BeforeValidator(_reader(units.METRES)), _positive]
MetresPerSecond = Annotated[float, BeforeValidator(_reader(units.METRES_PER_S)), _positive]
Fraction = Annotated[float, BeforeValidator(_reader(units.SHARE)), Field(gt=0, le=1)]
Probability = Annotated[float, BeforeValidator(_reader(units.SHARE)), Field(ge=0, lt=1)]

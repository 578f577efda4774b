"""A control loop: what is left of a period, and how fast one may fly with what latency."""

from __future__ import annotations

import math


def left_s(period_s: float, *spent_s: float) -> float:
    """What is left of a control period after each thing that must happen inside it.

    Negative when it does not fit. Rounded to a picosecond, so that 50 ms - 8 ms is 42 ms.
    Source: the textbook's worked example: 50 ms - 8 ms = 42 ms for perception and planning.
    """
    return round(period_s - math.fsum(spent_s), 12)


def break_even_round_trip_s(period_s: float, perceive_s: float, decide_s: float) -> float:
    """The longest round trip to a centre that still fits: `period - perceive - decide`.

    Negative when perceiving and deciding alone take longer than the period.
    """
    return left_s(period_s, perceive_s, decide_s)


def max_safe_speed_m_per_s(
    *, latency_s: float, sensing_range_m: float, radius_m: float, acceleration_m_per_s2: float
) -> float:
    """The largest speed at which an obstacle seen at the sensing range can still be passed.

    The vehicle must move sideways by r (its own radius and the obstacle's) from rest to rest
    before it arrives: `2 sqrt(r / u)` seconds at acceleration u, speeding up for half of the way
    and slowing down for the other. It has `s / v` seconds, of which the latency is lost:

        latency <= s / v - 2 sqrt(r / u)    so    v <= s / (latency + 2 sqrt(r / u))

    Source: Falanga, Kim, Scaramuzza 2019, How Fast Is Too Fast? The Role of Perception Latency in
    High-Speed Sense and Avoid, IEEE RA-L 4(2).
    """
    return sensing_range_m / (latency_s + 2.0 * math.sqrt(radius_m / acceleration_m_per_s2))

"""What people write is read exactly, what is printed can be read back, and nonsense is refused."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sextant import units


@pytest.mark.parametrize(
    ("text", "table", "value"),
    [
        ("30 TB", units.BYTES, 30e12),
        ("30TB", units.BYTES, 30e12),
        ("1 kB", units.BYTES, 1e3),
        ("1 KB", units.BYTES, 1e3),
        ("2 KiB", units.BYTES, 2048),
        ("1.5 GiB", units.BYTES, 1.5 * 2**30),
        ("7 bytes", units.BYTES, 7),
        ("50 ms", units.SECONDS, 0.05),
        ("20 µs", units.SECONDS, 20e-6),
        ("20 us", units.SECONDS, 20e-6),
        ("1 day", units.SECONDS, 86_400),
        ("14 days", units.SECONDS, 14 * 86_400),
        ("2 weeks", units.SECONDS, 14 * 86_400),
        ("30 min", units.SECONDS, 1800),
        ("2 hours", units.SECONDS, 7200),
        ("1 Gbit/s", units.BYTES_PER_S, 125e6),
        ("100 Mbps", units.BYTES_PER_S, 12.5e6),
        ("8 Mb/s", units.BYTES_PER_S, 1e6),
        ("8 MB/s", units.BYTES_PER_S, 8e6),
        ("1e10", units.COUNT, 1e10),
        ("10^10", units.COUNT, 1e10),
        ("10**10", units.COUNT, 1e10),
        ("2x10^9", units.COUNT, 2e9),
        ("1.5 × 10^10", units.COUNT, 1.5e10),
        ("15.6 trillion", units.COUNT, 15.6e12),
        ("405 B", units.COUNT, 405e9),
        ("1_000_000", units.COUNT, 1e6),
        ("1,000,000", units.COUNT, 1e6),
        ("200k", units.COUNT, 2e5),
        ("10^-3", units.COUNT, 1e-3),
        ("500/s", units.PER_S, 500),
        ("60/min", units.PER_S, 1),
        ("10 million/s", units.PER_S, 1e7),
        ("86400/day", units.PER_S, 1),
        ("36 km/h", units.METRES_PER_S, 10),
        ("60 cm", units.METRES, 0.6),
        (42, units.SECONDS, 42),
        (0.5, units.SECONDS, 0.5),
    ],
)
def test_reads_what_people_write(text: str | float, table: dict[str, float], value: float) -> None:
    assert units.parse(text, table) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ten",
        "TB",
        "1 2",
        "30 parsecs",
        "30 m",
        "5 ms 3",
        "--5",
        "1e400",
        "10^999",
        "10^999999999999999999999999",
        "0^-1",
        "1e",
        "nan",
        "inf",
        "0x10",
        "٣ items",
        "9" * 65,
        True,
        False,
        math.nan,
        math.inf,
        -math.inf,
        10**400,
    ],
)
def test_refuses_what_is_not_a_finite_number_with_a_unit(text: str | float) -> None:
    with pytest.raises(ValueError, match=r"."):
        units.parse(text, units.SECONDS)


@pytest.mark.parametrize("text", ["1,5 TB", "12,34 TB", "1,00 TB", "1,2345 TB", ",5 TB"])
def test_a_decimal_comma_is_refused_rather_than_read_ten_times_too_large(text: str) -> None:
    with pytest.raises(ValueError, match="TB"):
        units.parse(text, units.BYTES)


def test_the_error_names_the_units_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"parsecs.*ms"):
        units.parse("30 parsecs", units.SECONDS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (30.72e12, "B", "30.72 TB"),
        (1.024e12, "B", "1.024 TB"),
        (999_960, "B", "1 MB"),
        (0, "B", "0 B"),
        (0.042, "s", "42 ms"),
        (0.0, "s", "0 s"),
        (1e-6, "s", "1 µs"),
        (54 * 86_400.0, "s", "54 days"),
        (3.1 * 3600, "s", "3.1 h"),
        (2e9, "", "2 billion"),
        (768, "", "768"),
        (0.999, "fraction", "99.9%"),
        (1234567.0, "USD", "$1,234,567"),
        (0.25, "USD", "$0.25"),
        (math.inf, "s", "unbounded"),
        (-0.05, "s", "-50 ms"),
    ],
)
def test_prints_what_people_read(value: float, unit: str, text: str) -> None:
    assert units.show(value, unit) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(15.36, "15.4x"), (1389.4, "1,389x"), (0.03, "0.03x"), (math.inf, "∞")]
)
def test_prints_ratios(ratio: float, text: str) -> None:
    assert units.show_ratio(ratio) == text


_spans = st.floats(1e-6, 9e24)


@given(_spans)
@example(999_500.0)
@example(9_999_999.0)
def test_sizes_survive_being_printed_and_read(value: float) -> None:
    assert units.parse(units.show(value, "B"), units.BYTES) == pytest.approx(value, rel=1e-3)


@given(_spans)
def test_rates_survive_being_printed_and_read(value: float) -> None:
    shown = units.show(value, "B/s")
    assert units.parse(shown, units.BYTES_PER_S) == pytest.approx(value, rel=1e-3)


@given(st.floats(1e-3, 9e15))
@example(9_999_500.0)
@example(1e6 - 0.5)
def test_counts_survive_being_printed_and_read(value: float) -> None:
    assert units.parse(units.show_count(value), units.COUNT) == pytest.approx(value, rel=1e-3)


@given(st.floats(1e-9, 3e12))
@example(119.9999)
@example(7199.9999)
@example(172_799.99)
@example(0.99951)
def test_times_survive_being_printed_and_read(value: float) -> None:
    """Times are printed to three figures, so half a unit of the third is the most that is lost."""
    shown = units.show_seconds(value)
    assert units.parse(shown, units.SECONDS) == pytest.approx(value, rel=5.1e-3)


@given(st.floats(1e-9, 1e12), st.floats(1.02, 10))
def test_a_longer_time_never_prints_as_a_shorter_one(value: float, factor: float) -> None:
    one = units.parse(units.show_seconds(value), units.SECONDS)
    two = units.parse(units.show_seconds(value * factor), units.SECONDS)
    assert one < two


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_message(text: str) -> None:
    try:
        value = units.parse(text, units.BYTES)
    except ValueError as error:
        said = str(error)
    else:
        said = "" if math.isnan(value) else f"{value}"
    assert said not in ("", "inf", "-inf")

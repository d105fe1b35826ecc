"""Quantities with units, read and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.errors import UsageError
from abi.units import (
    parse_bandwidth,
    parse_bytes,
    parse_count,
    parse_energy,
    parse_power,
    parse_rate,
    parse_seconds,
    show_bandwidth,
    show_bytes,
    show_count,
    show_energy,
    show_rate,
    show_seconds,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        (5, 5),
        ("200k", 200000),
        ("250_000", 250000),
        ("1.5M", 1500000),
        ("2g", 2 * 10**9),
        ("2B", 2 * 10**9),
        (" 3 k ", 3000),
        ("1e5", 100000),
        (150000.0, 150000),
        ("1.005k", 1005),
        ("1e+3", 1000),
    ],
)
def test_counts(text: object, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1b", 1),
        ("1kB", 1000),
        ("1MB", 10**6),
        ("2GB", 2 * 10**9),
        ("1TB", 10**12),
        ("1KiB", 1024),
        ("1MiB", 2**20),
        ("8GiB", 8589934592),
        ("1tib", 2**40),
        ("0.5 GiB", 2**29),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3us", 3e-6),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("2ms", 0.002),
        ("1.5s", 1.5),
        ("10min", 600.0),
        ("2h", 7200.0),
        ("1d", 86_400.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "k", "-5", "abc", "5x", "1.2.3", "5 k b", "1__000", "_1", "1_", None, True, float("nan"), "٣"]
)
def test_what_is_no_count_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(UsageError, match="Expected a count such as 200k") as caught:
        parse_count(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["-1GiB", "0", " -0.0 "])
def test_what_is_not_above_zero_is_not_told_of_units(text: str) -> None:
    with pytest.raises(UsageError, match=r"such as 8GiB, got .*: it has to be above zero"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["8", "8G", "8 bytes", "GiB"])
def test_a_size_needs_a_unit_of_bytes(text: str) -> None:
    with pytest.raises(UsageError, match="gib"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["10", "10m", "10 minutes", "1:30"])
def test_a_time_needs_a_unit_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="min"):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["0", "0k", "0.3", "1e999"])
def test_a_count_is_at_least_one_and_finite(text: str) -> None:
    with pytest.raises(UsageError, match=r"got '"):
        parse_count(text)


@pytest.mark.parametrize("text", ["1.5", "2.6", "1.0005k"])
def test_there_are_no_parts_of_one(text: str) -> None:
    with pytest.raises(UsageError, match=f"Expected a whole number such as 200k, got '{text}': leave the fraction out"):
        parse_count(text)


def test_a_count_is_one_that_something_can_have() -> None:
    assert parse_count("1000000g") == 10**15
    with pytest.raises(UsageError, match="at most 1,000,000,000,000,000, got '99999999999999999999': take less"):
        parse_count("99999999999999999999")


@pytest.mark.parametrize("text", ["0s", "0.0ms", "1e999h"])
def test_a_time_is_above_zero_and_finite(text: str) -> None:
    with pytest.raises(UsageError, match="above zero and finite"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (12, "12"),
        (999, "999"),
        (1000, "1k"),
        (123456, "123k"),
        (999999, "1M"),
        (1234567, "1.23M"),
        (5 * 10**9, "5000M"),
    ],
)
def test_counts_are_shown_with_three_digits(value: int, shown: str) -> None:
    assert show_count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1023 * 2**20, "1023 MiB"),
        (2**30, "1 GiB"),
        (2**30 - 1, "1 GiB"),
        (2**43, "8192 GiB"),
    ],
)
def test_sizes_are_shown_with_three_digits(value: int, shown: str) -> None:
    assert show_bytes(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0005, "500 µs"),
        (0.002, "2 ms"),
        (0.9999, "1 s"),
        (1.0, "1 s"),
        (90, "90 s"),
        (600, "10 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (100000, "27.8 h"),
        (0.0, "0 µs"),
    ],
)
def test_times_are_shown_in_the_unit_that_reads_best(value: float, shown: str) -> None:
    assert show_seconds(value) == shown


@given(st.integers(1, 10**12))
def test_a_shown_count_is_read_back_within_three_digits(value: int) -> None:
    shown = show_count(value)
    assert "e" not in shown
    assert parse_count(shown) == pytest.approx(value, rel=0.006)


@given(st.integers(1, 2**45))
def test_a_shown_size_is_read_back_within_three_digits(value: int) -> None:
    shown = show_bytes(value)
    assert "e" not in shown
    assert parse_bytes(shown) == pytest.approx(value, rel=0.006)


@given(st.floats(1e-6, 1e8))
def test_a_shown_time_is_read_back_within_three_digits(value: float) -> None:
    shown = show_seconds(value)
    assert "e" not in shown
    assert parse_seconds(shown) == pytest.approx(value, rel=0.006)


def test_bandwidths_rates_and_powers() -> None:
    assert parse_bandwidth("3.35TB/s") == 3.35e12
    assert parse_bandwidth(" 1 GiB /s ") == 2**30
    assert parse_rate("66.9 TFLOPS") == 66.9e12
    assert parse_rate("1.1pflops") == 1.1e15
    assert parse_power("1kW") == 1000
    assert (show_bandwidth(3.35e12), show_bandwidth(9.5e9), show_bandwidth(2e6)) == ("3.35 TB/s", "9.5 GB/s", "2 MB/s")
    assert (show_rate(2.25e15), show_rate(66.9e12), show_rate(84.5e9)) == ("2.25 PFLOPS", "66.9 TFLOPS", "84.5 GFLOPS")


@pytest.mark.parametrize("text", ["300GB", "300", 300, "GB/s", "0GB/s", "-1GB/s"])
def test_a_bandwidth_has_its_unit(text: object) -> None:
    with pytest.raises(UsageError, match="a bandwidth"):
        parse_bandwidth(text)


@pytest.mark.parametrize("text", ["312", 312, "312T", "0TFLOPS", "-1TFLOPS", "1TFLOP"])
def test_a_rate_has_its_unit(text: object) -> None:
    with pytest.raises(UsageError, match="a rate"):
        parse_rate(text)


def test_energy_is_read_and_shown() -> None:
    assert [parse_energy(text) for text in ("2kWh", "500 J", "3.6MJ", "1Wh")] == [7.2e6, 500.0, 3.6e6, 3600.0]
    shown = [show_energy(joules) for joules in (7.2e6, 3.6e9, 3.6e5, 1500.0, 999.9, 12.34)]
    assert shown == ["2 kWh", "1 MWh", "0.1 kWh", "1.5 kJ", "1 kJ", "12.3 J"]
    for text in ("1mJ", "2 mWh"):
        with pytest.raises(UsageError, match="thousandths: write MJ or MWh for millions"):
            parse_energy(text)
    with pytest.raises(UsageError, match="Expected an energy such as 2kWh, got '3'"):
        parse_energy("3")

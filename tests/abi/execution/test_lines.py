"""Lines through recordings, with numbers worked out by hand."""

from __future__ import annotations

from abi.execution.lines import alive_lines, rounded_up, upper_line, value_at
from abi.execution.recorder import Recording


def recording(*alive: int) -> Recording:
    return Recording("forward", list(alive))


def test_each_instant_is_a_line_and_those_that_are_never_the_largest_are_left_out():
    # 100 + 2 rows, 60 + 12 rows and 90 + 1 row: the first two meet at 4 rows, the third always lies below the first
    at_2, at_10 = recording(104, 84, 92), recording(120, 180, 100)
    lines, above = alive_lines([at_2, at_10], (2, 10))
    assert lines == ((100.0, 2.0), (60.0, 12.0))
    assert above == 0
    assert [value_at(lines, rows) for rows in (1, 4, 5)] == [102, 108, 120]


def test_a_recording_between_that_lies_above_says_how_far():
    _, above = alive_lines([recording(10), recording(33), recording(50)], (1, 3, 5))  # the line says 30 at 3 rows
    assert above == 33 / 30 - 1


def test_other_operators_at_other_rows_leave_the_peaks_and_their_steepest_part():
    lines, above = alive_lines([recording(10, 5), recording(20), recording(60)], (1, 2, 4))
    assert lines == ((-10.0, 20.0),)  # as steep as from 20 to 60, lifted to 10 at 1 row
    assert above == 0
    assert all(value_at(lines, rows) >= peak for rows, peak in ((1, 10), (2, 20), (4, 60)))


def test_an_upper_line_has_no_value_above_it_and_does_not_begin_below_zero():
    assert upper_line([5.0, 9.0, 11.0], (1, 2, 4)) == (5.0, 2.0)  # slope (11 - 5) / 3, lifted to 9 at 2 rows
    assert upper_line([1.0, 7.0], (1, 2)) == (0.0, 6.0)
    assert upper_line([7.0], (2,)) == (7.0, 0.0)


def test_rounding_never_goes_below():
    assert rounded_up(1.00012) == 1.001
    assert rounded_up(2.0) == 2.0

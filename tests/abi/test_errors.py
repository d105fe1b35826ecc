"""The error tree."""

from __future__ import annotations

import pytest

from abi.errors import (
    AbiError,
    DataError,
    PlanInfeasible,
    ProcessLost,
    TrackingError,
    TrainingDiverged,
    UsageError,
    WorkspaceError,
    clip,
    listed,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AbiError, 1),
        (UsageError, 2),
        (DataError, 3),
        (PlanInfeasible, 5),
        (TrainingDiverged, 1),
        (ProcessLost, 1),
        (WorkspaceError, 1),
        (TrackingError, 1),
    ],
)
def test_each_error_is_an_abi_error_with_its_documented_exit_code(error: type[AbiError], code: int) -> None:
    assert issubclass(error, AbiError)
    assert error.exit_code == code


def test_no_error_hides_a_programming_error() -> None:
    assert not issubclass(AbiError, (ValueError, TypeError, OSError, AssertionError))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "'a'"),
        (("a", "b"), "'a', 'b'"),
        (list("abcde"), "'a', 'b', 'c', 'd', 'e'"),
        (list("abcdefg"), "'a', 'b', 'c', 'd', 'e' and 2 more"),
    ],
)
def test_lists_are_capped_at_five(names: list[str] | tuple[str, ...], text: str) -> None:
    assert listed(names) == text


def test_the_cap_can_be_chosen() -> None:
    assert listed(["a", "b", "c"], limit=1) == "'a' and 2 more"


def test_long_names_are_cut_to_the_limit() -> None:
    assert clip("x" * 60) == "x" * 60
    assert clip("x" * 61) == "x" * 59 + "…"
    assert len(clip("y" * 1000, 20)) == 20

"""Threads of an estimator's training sleep when they have waited for a moment, unless the environment or the program has decided already."""

from __future__ import annotations

import os
import sys

import pytest

import abi
import abi.estimators.classifier


@pytest.mark.parametrize(
    ("given", "torch_is_there", "policy"),
    [
        ({}, False, "PASSIVE"),
        ({}, True, None),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False, "ACTIVE"),
        ({"GOMP_SPINCOUNT": "1000"}, False, None),
    ],
)
def test_the_first_estimator_decides_how_threads_wait(
    given: dict[str, str], torch_is_there: bool, policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, given.get(name, ""))
        if name not in given:
            monkeypatch.delenv(name)
    if not torch_is_there:
        monkeypatch.delitem(sys.modules, "torch")
    assert abi.AttentionBalancedClassifier is abi.estimators.classifier.AttentionBalancedClassifier
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    assert os.environ.get("GOMP_SPINCOUNT") == ("5000" if policy == "PASSIVE" else given.get("GOMP_SPINCOUNT"))

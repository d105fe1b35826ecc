"""Which model is meant where none is named."""

from __future__ import annotations

from unittest import mock

import pytest

from abi.config import load_config
from abi.errors import UsageError
from tasks.decisions import only_model
from tasks.stage import Call
from tasks.workspace import Workspace


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], r"found none: train one with `abi run` first\."),
        (["shop", "till"], r"found 2 \('shop', 'till'\): name the one that is meant with --model\."),
    ],
)
def test_without_a_name_the_remedy_is_that_of_what_is_there(ws: Workspace, models: list[str], said: str) -> None:
    call = Call.of(ws, "model", load_config(None, {}, ambient=False))
    with pytest.raises(UsageError, match=said):
        only_model(call, mock.Mock(models=lambda: models))


def test_the_only_one_is_meant(ws: Workspace) -> None:
    call = Call.of(ws, "model", load_config(None, {}, ambient=False))
    assert only_model(call, mock.Mock(models=lambda: ["shop"])).name == "shop"

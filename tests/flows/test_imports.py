"""The collector of cycles rests while much is imported, and only then."""

from __future__ import annotations

import gc

import pytest

from flows.imports import at_once


def test_the_collector_rests_and_leaves_out_what_was_imported() -> None:
    before = gc.get_freeze_count()
    try:
        with at_once("a library that is not there yet"):
            assert not gc.isenabled()
            assert gc.get_freeze_count() == before
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_nothing_happens_where_it_was_imported_before() -> None:
    before = gc.get_freeze_count()
    with at_once("gc"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_the_collector_works_again_where_an_import_fails() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(ImportError), at_once("a library that is not there yet"):
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == before

from __future__ import annotations

import importlib.metadata

import pytest

from tasks.stage import LIBRARIES, code_id, versions


@pytest.fixture(autouse=True)
def _afresh() -> None:
    versions.cache_clear()
    code_id.cache_clear()


def test_the_libraries_of_encoders_files_and_checks_are_among_those_that_results_depend_on() -> None:
    assert {"transformers", "tokenizers", "timm", "torchvision", "pillow", "soundfile", "great-expectations"} <= set(
        LIBRARIES
    )
    assert versions()["great-expectations"] == importlib.metadata.version("great-expectations")


def test_one_that_is_not_installed_is_left_out_and_another_version_is_other_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "timm":
            raise importlib.metadata.PackageNotFoundError(name)
        return transformers if name == "transformers" else "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    transformers = "5.1"
    assert set(versions()) == set(LIBRARIES) - {"timm"}
    before = code_id()
    versions.cache_clear()
    code_id.cache_clear()
    transformers = "5.2"
    assert code_id() != before
    versions.cache_clear()
    code_id.cache_clear()

"""How a registered version is named."""

from __future__ import annotations

import pytest

from tasks.registered import parted


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("shop", ("shop", "")),
        ("shop/2", ("shop", "2")),
        ("shop/champion", ("shop", "champion")),
        ("shop@champion", ("shop", "champion")),
        ("models:/shop/2", ("shop", "2")),
        ("models:/shop@previous", ("shop", "previous")),
        ("a@b", ("a@b", "")),
        ("a@b/1", ("a@b", "1")),
        ("a@b/champion", ("a@b", "champion")),
        ("a@b@champion", ("a@b", "champion")),
        ("/1", ("/1", "")),
        ("shop/", ("shop/", "")),
        ("none@1", ("none", "1")),
    ],
)
def test_name_and_version_are_told_apart(reference: str, meant: tuple[str, str]) -> None:
    assert parted(reference, ["shop", "a@b"]) == meant

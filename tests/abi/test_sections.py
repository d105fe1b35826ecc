from __future__ import annotations

import pytest

from abi.sections import without_passwords


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://abi:p:w@rd@db:5432/abi", "postgresql+psycopg://abi:***@db:5432/abi"),
        ("https://:token@mlflow/x", "https://:***@mlflow/x"),
        ("postgresql+psycopg://abi@db/abi", "postgresql+psycopg://abi@db/abi"),
        ("http://db:5000/a@b", "http://db:5000/a@b"),
        ("sqlite:////a/b:c@d.db", "sqlite:////a/b:c@d.db"),
    ],
)
def test_passwords_in_urls_are_not_shown(url, shown):
    plain = {"audit": {"url": url, "every": 100}, "list": [url, None, 0.5]}
    assert without_passwords(plain) == {"audit": {"url": shown, "every": 100}, "list": [shown, None, 0.5]}

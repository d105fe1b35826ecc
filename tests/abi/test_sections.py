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
        ("postgresql+psycopg://abi:pa/ss@host/db", "postgresql+psycopg://abi:***@host/db"),
        ("postgresql://abi:12/34?#@host/db", "postgresql://abi:***@host/db"),
        ("https://abi:pa/ss@host:80/x", "https://abi:***@host:80/x"),
        ("postgresql://host/db?user=u&password=secret", "postgresql://host/db?user=u&password=***"),
        ("s3://bucket/a?sslpassword=p/q&Token=t&n=1", "s3://bucket/a?sslpassword=***&Token=***&n=1"),
        (
            "s3://bucket?aws_secret_access_key=p/q&access_key_id=me",
            "s3://bucket?aws_secret_access_key=***&access_key_id=me",
        ),
        ("no answer: api_key=abc at 9", "no answer: api_key=*** at 9"),
        ("secret_access_key=abc", "secret_access_key=***"),
        ("host=db password=abc user=me", "host=db password=*** user=me"),
        ("https://ghp_abc@host/x", "https://***@host/x"),
        ("data.columns.token=text", "data.columns.token=text"),
        ("got http://u:p@h/x: no answer", "got http://u:***@h/x: no answer"),
        ("sqlite:////a/b:c@d.db", "sqlite:////a/b:c@d.db"),
    ],
)
def test_passwords_in_urls_are_not_shown(url, shown):
    plain = {"audit": {"url": url, "every": 100}, "list": [url, None, 0.5]}
    assert without_passwords(plain) == {"audit": {"url": shown, "every": 100}, "list": [shown, None, 0.5]}

"""The compose file and the units beside it: whole, pinned, without a secret, and with commands that exist."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import App

from abi.config import Config
from flows import cli

INFRA = Path(__file__).parents[2] / "infra"
TEXT = (INFRA / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"bucket", "ledger"}
OPTIONAL = {"BIND", "HOSTS", "PREFECT_UI_API_URL"}
INTERPOLATED = re.compile(r"(?<!\$)\$\{(\w+)(:[?-])?([^}]*)\}")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|AUTH_STRING|_KEY$")
UNITS = sorted((INFRA / "systemd").glob("*.service"))


def environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def named(of: Any) -> set[str]:
    return set(of or {})


def test_every_value_from_outside_is_asked_for_and_none_has_a_default_that_works():
    found = INTERPOLATED.findall(TEXT)
    assert len(found) > 20
    for name, operator, text in found:
        assert operator == (":-" if name in OPTIONAL else ":?"), name
        assert text, name
    required = {name for name, operator, _ in found if operator == ":?"}
    lines = [line for line in (INFRA / "env.example").read_text().splitlines() if line and not line.startswith("#")]
    example = dict(line.split("=", 1) for line in lines)
    assert set(example) == required
    assert {name for name, value in example.items() if value} == {
        "LEDGER_KEY",
        "MODEL_KEY",
        "MODEL_PUBLIC_KEYS",
        "DATA_FOLDER",
        "CHECKPOINTS_FOLDER",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_the_environment_or_a_file(name):
    for key, value in environment(name).items():
        if SECRET.search(key) and key != "POSTGRES_INITDB_ARGS":
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}|/run/secrets/\w+", value), key
        assert not re.search(r"://[^@/]*:[^@/]*@", value), f"{key}: a password in a URL"
    assert not re.search(r"(password|secret)\s*[:=]\s*\w", str(SERVICES[name].get("command", "")), re.IGNORECASE)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_services_hardened(name):
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", service["image"]), service["image"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)
    assert name == "objects" or not service["user"].startswith("0")
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", []))
    assert bool(service.get("ports")) == (name in {"mlflow", "prefect"})


@pytest.mark.parametrize("name", SERVICES)
def test_everything_named_exists(name):
    service = SERVICES[name]
    for other, condition in service.get("depends_on", {}).items():
        done = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert SERVICES[other]
        assert condition == {"condition": done}
    assert set(service["networks"]) <= named(COMPOSE["networks"])
    assert set(service.get("secrets", [])) <= named(COMPOSE["secrets"])
    for mount in service.get("volumes", []):
        source = INTERPOLATED.sub("./from-outside", mount).split(":")[0]
        assert source == "./from-outside" or source in named(COMPOSE["volumes"]) or (INFRA / source).exists(), mount
    for key, value in environment(name).items():
        host = re.search(r"://(?:\w+@)?([a-z]+)[:/]", value)
        assert host is None or host[1] in SERVICES or INTERPOLATED.search(value), key
        if host is not None and host[1] in SERVICES:  # it can be reached
            assert set(service["networks"]) & set(SERVICES[host[1]]["networks"]), key


@pytest.mark.parametrize("name", SERVICES)
def test_settings_of_abi_exist(name):
    for key in environment(name):
        if key.startswith("ABI_") and key != "ABI_WORKSPACE":
            section, field = key.removeprefix("ABI_").lower().split("__")
            assert field in Config.model_fields[section].annotation.model_fields, key


def test_the_database_is_told_every_password_that_it_asks_for():
    asked = re.findall(r"\\getenv \w+ (\w+)", (INFRA / "postgres/init.sql").read_text())
    assert len(asked) == 5
    assert set(asked) <= set(environment("postgres"))
    passwords = {service: environment(service).get("PGPASSWORD") for service in SERVICES}
    for service, role in {
        "mlflow": "MLFLOW_DB", "prefect": "PREFECT_DB", "ledger": "LEDGER_OWNER", "worker": "LEDGER_DB", "metrics": "LEDGER_READER",
    }.items():  # fmt: skip
        assert str(passwords[service]).startswith(f"${{{role}_PASSWORD:?")
    assert [name for name, service in SERVICES.items() if "model_key" in service.get("secrets", [])] == ["worker"]
    ini = configparser.ConfigParser()
    ini.read(INFRA / "mlflow/basic_auth.ini")
    assert ini["mlflow"]["database_uri"] == "postgresql+psycopg://mlflow@postgres/mlflow_auth"
    assert not ini["mlflow"].get("admin_password")


def commands() -> list[str]:
    found = [str(SERVICES[name].get("command", "")) for name in SERVICES]
    for unit in UNITS:
        found += re.findall(r"exec /opt/abi/\.venv/bin/(.*)'$", unit.read_text(), re.MULTILINE)
    return [line for line in found if line.startswith("abi ")]


def test_commands_of_abi_are_understood():
    found = commands()
    assert len(found) == 3
    for line in found:
        words = shlex.split(line.replace("$", ""))[1:]
        command, bound, _ = App.parse_args(cli.app, words, exit_on_error=False, print_error=False)
        assert command.__name__ == words[0]
        assert bound.arguments


def test_the_image_has_what_it_copies_and_is_not_root():
    text = (INFRA / "Containerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for word in line.split()]
    assert {"constraints.txt", "pyproject.toml", "abi", "tasks", "flows", "infra"} <= set(copied)
    assert all((INFRA.parent / name).exists() for name in copied)
    kept = {
        line.removeprefix("!") for line in (INFRA.parent / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert set(copied) == kept
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"docker.io/library/python:${PYTHON}"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_are_hardened_and_hold_no_secret(unit):
    text = unit.read_text()
    for line in ("User=abi", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert line in text.splitlines()
    assert not re.search(r"^Environment=.*(PASSWORD|SECRET)", text, re.MULTILINE)
    told = set(re.findall(r"^LoadCredential=([\w.]+):", text, re.MULTILINE))
    assert told == set(re.findall(r"CREDENTIALS_DIRECTORY/([\w.]+)", text)) | set(re.findall(r"=%d/([\w.]+)", text))
    secrets = re.findall(r"^LoadCredential=[\w.]+:/etc/abi/secrets/([\w-]+)", text, re.MULTILINE)
    readme = (INFRA / "README.md").read_text()
    listed = re.search(r"^`(mlflow-db [^`]+)`", readme, re.MULTILINE)
    assert listed is not None
    assert set(secrets) <= set(listed[1].split())


def test_shell_scripts_are_read_by_a_plain_shell():
    subprocess.run(["/bin/sh", "-n", INFRA / "backup.sh"], check=True)
    for unit in UNITS:
        for script in re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", unit.read_text(), re.MULTILINE):
            subprocess.run(["/bin/sh", "-n", "-c", script], check=True)


def test_keys_made_as_the_readme_says_are_taken(tmp_path):
    from abi.audit.keys import Signer, read_public
    from abi.audit.model_keys import public_key_of, public_keys

    readme = (INFRA / "README.md").read_text()
    lines = [line.split("#")[0] for line in readme.splitlines() if line.startswith("openssl ")]
    assert len(lines) == 4
    (tmp_path / "keys").mkdir()
    for line in lines:
        subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True)
    signer = Signer.read((tmp_path / "keys/ledger.pem").read_bytes(), "ledger")
    public = read_public((tmp_path / "ledger.pub.pem").read_bytes(), "ledger")
    assert public.public_bytes_raw() == signer.private.public_key().public_bytes_raw()
    (made,) = public_keys(tmp_path / "keys/model.pub.pem").values()
    private = tmp_path / "keys/model.pem"
    assert made == public_key_of(private.read_bytes(), private)

"""What `infra/postgres` sets up, on a real server: databases, roles, and what each role cannot do to the ledger."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import ProgrammingError

from abi.audit.entry import Draft
from abi.config import AuditConfig
from abi.errors import LedgerError, UsageError
from tasks.ledger import Ledger
from tasks.workspace import Workspace

ROOT = Path(__file__).parents[2]
SECRETS = {
    "MLFLOW_DB_PASSWORD": "m'1",  # a quote has to come through
    "PREFECT_DB_PASSWORD": "p2",
    "LEDGER_OWNER_PASSWORD": "o3",
    "LEDGER_DB_PASSWORD": "l4",
    "LEDGER_READER_PASSWORD": "r5",
}
DATABASES = ("mlflow", "mlflow_auth", "prefect", "abi_ledger")


def test_a_fresh_database_that_keeps_what_is_committed(postgres_url):
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        assert connection.scalar(sqlalchemy.text("select count(*) from pg_tables where schemaname = 'public'")) == 0
        connection.execute(sqlalchemy.text("create table kept (n int)"))
        connection.execute(sqlalchemy.text("insert into kept values (7)"))
        assert connection.scalar(sqlalchemy.text("show fsync")) == "on"
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("select n from kept")) == 7
    engine.dispose()


def tool(name: str, server: sqlalchemy.URL, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """One of PostgreSQL's programs, told of the server by the environment."""
    found = shutil.which(name)
    assert found, f"Expected {name} of PostgreSQL's client package, found none: apt-get install postgresql-client."
    told = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.username, "PGPASSWORD": server.password}
    return subprocess.run(
        [found, *map(str, words)],
        env={**os.environ, **told, **environment},
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def server(postgres_server):
    """Set up as the first start of the container does, then by the owner's script."""
    url = sqlalchemy.make_url(postgres_server)
    tool("psql", url, "-d", "postgres", "-f", ROOT / "infra/postgres/init.sql", **SECRETS)
    yield url
    for name in DATABASES:
        tool("psql", url, "-d", "postgres", "-c", f"DROP DATABASE {name} WITH (FORCE)")
    tool("psql", url, "-d", "postgres", "-c", "DROP ROLE mlflow, prefect, abi_owner, abi_ledger, abi_reader")


@pytest.fixture(scope="module")
def place(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    words = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(folder / "ledger.pem")]  # as the README says
    subprocess.run(words, check=True, capture_output=True)
    for _ in range(2):
        set_up(server, folder)
    return folder


def set_up(server, folder) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ABI_AUDIT__URL": address(server, "abi_owner"),
        "PGPASSWORD": SECRETS["LEDGER_OWNER_PASSWORD"],
        "ABI_AUDIT__KEY": str(folder / "ledger.pem"),
        "ABI_WORKSPACE": str(folder / "owner"),
    }
    script = [sys.executable, str(ROOT / "infra/postgres/ledger.py")]
    made = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("ledger    ready for abi_ledger and abi_reader, 1 entries")


def address(server, role: str, database: str = "abi_ledger") -> str:
    """As the compose file has it: without a password."""
    return f"postgresql+psycopg://{role}@{server.host}:{server.port}/{database}"


@pytest.fixture
def ledger(server, place, monkeypatch):
    """The ledger, as a role sees it."""
    opened = []

    def open_as(role: str, secret: str, database: str = "abi_ledger", key: bool = True) -> Ledger:
        monkeypatch.setenv("PGPASSWORD", SECRETS[secret])
        signs = place / "ledger.pem" if key else None
        config = AuditConfig(url=address(server, role, database), key=signs, patience=1)
        opened.append(Ledger.open(Workspace.open(place / role), config))
        return opened[-1]

    yield open_as
    for one in opened:
        one.engine.dispose()


def test_databases_are_apart(server):
    names = ", ".join(f"'{name}'" for name in DATABASES)
    query = f"select datname, has_database_privilege('mlflow', datname, 'connect') from pg_database where datname in ({names})"
    found = tool("psql", server, "-d", "postgres", "--no-align", "--tuples-only", "-c", query).stdout.split()
    assert sorted(found) == ["abi_ledger|f", "mlflow_auth|t", "mlflow|t", "prefect|f"]


def test_a_run_appends_and_can_do_nothing_else(ledger):
    writer = ledger("abi_ledger", "LEDGER_DB_PASSWORD")
    before = writer.size()
    writer.append(Draft(kind="trigger", model="shop", detail={"why": "test"}))
    assert writer.checkpoint() is not None
    with writer.lease("one") as held:
        assert held
    assert writer.size() == before + 1
    writer.verify()
    for statement in (
        "UPDATE ledger_entries SET model = 'other'",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
        "DROP TABLE ledger_entries",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "DROP TRIGGER ledger_entries_no_change ON ledger_entries",
        "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger AS $$ BEGIN RETURN NULL; END $$ LANGUAGE plpgsql",
        "UPDATE ledger_checkpoints SET payload = ''",
        "DELETE FROM ledger_head",
        "SET ROLE abi_owner",
    ):
        with (
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner") as refused,
            writer.engine.begin() as c,
        ):
            c.exec_driver_sql(statement)
        assert refused.value.orig.sqlstate == "42501", statement
    writer.verify()


def test_a_reader_reads_and_verifies_and_can_do_nothing_else(ledger):
    reader = ledger("abi_reader", "LEDGER_READER_PASSWORD", key=False)  # an auditor holds no private key
    reader.verify()
    assert next(reader.entries()).kind == "key"
    with pytest.raises(UsageError, match="a key that the ledger trusts"):
        reader.append(Draft(kind="trigger", model="shop"))
    with pytest.raises(LedgerError, match="permission denied"):
        ledger("abi_reader", "LEDGER_READER_PASSWORD").append(Draft(kind="trigger", model="shop"))
    with pytest.raises(UsageError, match="name one that the ledger trusts"):
        ledger("abi_ledger", "LEDGER_DB_PASSWORD", key=False)  # it had one before


def test_the_owner_is_held_back_by_the_tables_themselves(ledger):
    owner = ledger("abi_owner", "LEDGER_OWNER_PASSWORD")
    for statement in ("UPDATE ledger_entries SET model = 'x'", "DELETE FROM ledger_checkpoints"):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="entries are never changed"), owner.engine.begin() as c:
            c.exec_driver_sql(statement)


def test_a_backup_brings_the_ledger_back_whole(server, ledger, place, tmp_path):
    before = ledger("abi_ledger", "LEDGER_DB_PASSWORD")
    before.append(*(Draft(kind="trigger", model="shop", detail={"n": n}) for n in range(20)))
    before.ws.write(before.ws.runs / "one" / "run.json", b"{}")
    told = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": "abi_owner", "DATABASES": "abi_ledger"}
    told |= {"PGPASSWORD": SECRETS["LEDGER_OWNER_PASSWORD"], "ABI_WORKSPACE": str(before.ws.root)}
    script = [ROOT / "infra/backup.sh", tmp_path]
    made = subprocess.run(script, env={**os.environ, **told}, check=True, capture_output=True, text=True)
    folder = Path(made.stdout.split()[-1])
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    packed = subprocess.run(["tar", "tzf", folder / "workspace.tar.gz"], check=True, capture_output=True, text=True)
    assert "./runs/one/run.json" in packed.stdout
    assert ".pem" not in packed.stdout
    tool("createdb", server, "--owner", "abi_owner", "restored")
    try:
        tool("pg_restore", server, "--exit-on-error", "--dbname", "restored", folder / "abi_ledger.dump")
        after = ledger("abi_ledger", "LEDGER_DB_PASSWORD", database="restored")
        after.verify(kept=before.place)
        assert [entry.id for entry in after.entries()] == [entry.id for entry in before.entries()]
        with pytest.raises(ProgrammingError), after.engine.begin() as c:
            c.exec_driver_sql("DELETE FROM ledger_entries")
    finally:
        tool("dropdb", server, "--force", "restored")

"""The only door to DVC: a data file becomes a snapshot, addressed by its content, in a repository of the workspace's own.

The repository lies in ``snapshots/`` and knows nothing of a git or DVC repository around it. Each raw file stands in it
under its SHA-256. DVC trusts what lies in its cache, so content is hashed again here before it is relied on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import yaml

from abi.data.convert import convert, table_name
from abi.data.delimited import CsvFile
from abi.data.infer import respelled_columns
from abi.data.pack import packed, told_as
from abi.data.scratch import scratch_file, scratch_folder
from abi.data.source import format_of, hash_file
from abi.data.table import Table, open_table
from abi.errors import DataError, WorkspaceError, clip
from abi.problem import DataFile, Snapshot
from abi.reading import DataConfig
from abi.sections import masked
from tasks.workspace import Workspace, disk_errors

QUIET = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}
_STARTED = "abi started dvc "
_IN_TURN = f"""
import json, sys
from dvc.cli import main
for words in json.loads(sys.argv[1]):
    print("{_STARTED}" + words[0], flush=True)
    if failed := main(["--wait-for-lock", *words]):
        sys.exit(failed)
"""


def take_snapshot(
    ws: Workspace, train: Path, test: Path | None = None, remote: str | None = None, config: DataConfig | None = None
) -> Snapshot:
    """Convert the files to tables, put the raw content under DVC and push it; the same content twice is one snapshot.

    Args:
        ws: where tables and the DVC repository lie.
        train: file with the training rows.
        test: file with held-out rows, where the user has one.
        remote: DVC remote, a URL or a folder; one in the workspace where None.
        config: where the images or sounds that a column names are; the defaults where None.

    Raises:
        DataError: a file cannot be used, or changed while it was read.
        WorkspaceError: the disk is full or closed, DVC failed, or stored content is damaged.
    """
    paths = [train] if test is None else [train, test]
    with disk_errors(ws.tables), scratch_folder(ws.tables) as scratch:
        whole = [
            packed(path, config or DataConfig(), scratch, f"{number}.parquet") for number, path in enumerate(paths)
        ]
        with ExitStack() as told:
            for made, path in zip(whole, paths, strict=True):
                told.enter_context(told_as(made, path))
            return _stored_under_dvc(ws, whole, remote)


def _stored_under_dvc(ws: Workspace, paths: Sequence[Path], remote: str | None) -> Snapshot:
    files = [_read(ws, path, "train" if index == 0 else "test") for index, path in enumerate(paths)]
    sources = {_name(file): (file, path) for file, path in zip(files, paths, strict=True)}
    url = _url(ws, remote)
    with ws.alone("dvc"), disk_errors(ws.snapshots):
        new = [name for name, (file, _) in sources.items() if not _stored(ws, file)]
        unpushed = [name for name, (file, _) in sources.items() if name in new or not _pushed(ws, file, url)]
        for name in new:
            _copy(ws, *sources[name])
        add, push = ["add", *new], ["push", *(f"{name}.dvc" for name in unpushed)]
        if unpushed:
            _dvc(ws, url, *([add, push] if new else [push]))
        for name in new:
            tracked = _tracked_md5(ws, name)
            assert tracked == sources[name][0].md5, f"DVC tracks {name} as {tracked}"
        for name in unpushed:
            ws.write(_receipt(ws, name), f"{url}\n".encode(), private=_is_secret(url))
    return Snapshot(files=tuple(files))


def read_file(
    ws: Workspace, path: Path, config: DataConfig | None = None, texts: Collection[str] = ()
) -> tuple[DataFile, Table]:
    """Convert a file that is only looked at, where some columns are text: its identity and its table, nothing under DVC.

    Raises:
        DataError: the file cannot be used.
    """
    with disk_errors(ws.tables), scratch_folder(ws.tables) as scratch:
        made = packed(path, config or DataConfig(), scratch)
        with told_as(made, path):
            file = _read(ws, made, "train", texts)
    return file, open_table(ws.tables, table_name(file.sha256, texts))


def fetch_snapshot(
    ws: Workspace, snapshot: Snapshot, remote: str | None = None, texts: Collection[str] = ()
) -> tuple[Table, Table | None]:
    """The tables of a snapshot (training, test), pulled from the remote where this machine does not have them.

    Columns in `texts` are text whatever a CSV holds there; of the test table so are those of the training table whose text
    would be spelled otherwise.

    Raises:
        WorkspaceError: the content is neither here nor in the remote, or is not what the snapshot names.
    """
    url = _url(ws, remote)
    tables = [_fetch(ws, file, url, texts) for file in snapshot.files]
    if len(tables) == 1:
        return tables[0], None
    train, test = tables
    inferred = {c.name for c in test.profile.columns if c.type not in ("string", "media")}
    otherwise = respelled_columns(train, inferred) if snapshot.files[1].format != "parquet" else ()
    return train, _fetch(ws, snapshot.files[1], url, {*texts, *otherwise}) if otherwise else test


def _read(ws: Workspace, path: Path, role: Literal["train", "test"], texts: Collection[str] = ()) -> DataFile:
    form = format_of(path)
    hashes = hash_file(path)
    with disk_errors(ws.tables):
        table = convert(path, ws.tables, hashes.sha256, texts)
    return DataFile(
        role=role, format=form, md5=hashes.md5, sha256=hashes.sha256, size_bytes=hashes.size_bytes, rows=table.rows
    )


def _name(file: DataFile) -> str:
    return f"{file.sha256}.{file.format}"


def _receipt(ws: Workspace, name: str) -> Path:
    return ws.snapshots / f"{name}.pushed"


def _object(folder: Path, md5: str) -> Path:
    return folder / "files" / "md5" / md5[:2] / md5[2:]


def _cached(ws: Workspace, file: DataFile) -> Path:
    return _object(ws.snapshots / ".dvc" / "cache", file.md5)


def written_names(ws: Workspace, file: DataFile) -> dict[str, str]:
    """Column -> its name as a CSV's header has it, where there are blanks around it; nothing where the file is not at hand."""
    path = _cached(ws, file)
    if file.format not in ("csv", "csv.gz") or not path.is_file():
        return {}
    header = CsvFile(path, compressed=file.format == "csv.gz").header
    return {name: written for name, written in zip(header.names, header.written, strict=True) if written != name}


def _url(ws: Workspace, remote: str | None) -> str:
    if remote is None:
        return str(ws.dvc_remote)
    return remote if "://" in remote else str(Path(remote).expanduser().resolve())


def _is_secret(url: str) -> bool:
    """Whether it has a password, so that files with it are their owner's alone."""
    return masked(url) != url


def _tracked_md5(ws: Workspace, name: str) -> str | None:
    try:
        return str(yaml.safe_load((ws.snapshots / f"{name}.dvc").read_text())["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return None


def _stored(ws: Workspace, file: DataFile) -> bool:
    """Whether DVC has the content. What has other content than its name says is reported, never delivered."""
    cached = _cached(ws, file)
    if _tracked_md5(ws, _name(file)) != file.md5 or not cached.is_file():
        return False
    _verify(cached, file)
    return True


def _pushed(ws: Workspace, file: DataFile, url: str) -> bool:
    try:
        receipt = _receipt(ws, _name(file)).read_text().strip()
    except OSError:
        return False
    return receipt == url and ("://" in url or _object(Path(url), file.md5).is_file())


def _verify(path: Path, file: DataFile) -> None:
    got = hash_file(path).sha256
    if got != file.sha256:
        msg = f"Expected {path} to hold the content with SHA-256 {file.sha256[:12]}, got {got[:12]}: the stored file was changed; delete it and run again."
        raise WorkspaceError(msg)


def _copy(ws: Workspace, file: DataFile, source: Path) -> None:
    place = ws.snapshots / _name(file)
    descriptor, new = scratch_file(place.parent)
    try:
        with os.fdopen(descriptor, "wb") as copy, source.open("rb") as raw:
            shutil.copyfileobj(raw, copy)
        new.chmod(0o644)
        if hash_file(new).sha256 != file.sha256:
            for left in ws.tables.glob(f"{file.sha256}[.-]*"):
                left.unlink()
            msg = f"Expected {source} to stay as it is during the run, got other content on the second reading: run again when nothing writes to it."
            raise DataError(msg)
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)


def _fetch(ws: Workspace, file: DataFile, url: str, texts: Collection[str] = ()) -> Table:
    stem = table_name(file.sha256, texts)
    if all((ws.tables / f"{stem}.{part}").is_file() for part in ("parquet", "sample.parquet", "profile.json")):
        return open_table(ws.tables, stem)
    name = _name(file)
    place = ws.snapshots / name
    with ws.alone("dvc"), disk_errors(ws.snapshots):
        if not place.is_file() or hash_file(place).sha256 != file.sha256:
            place.unlink(missing_ok=True)
            out = {"md5": file.md5, "size": file.size_bytes, "hash": "md5", "path": name}
            ws.write(ws.snapshots / f"{name}.dvc", yaml.safe_dump({"outs": [out]}, sort_keys=False).encode())
            _pull(ws, file, url)
            _verify(place, file)
        return convert(place, ws.tables, file.sha256, texts)


def _pull(ws: Workspace, file: DataFile, url: str) -> None:
    """Get the content from a remote.

    Raises:
        WorkspaceError: it is not there; where the remote is a folder of this machine, that is known without DVC.
    """
    if "://" not in url and not _object(Path(url), file.md5).is_file() and not _cached(ws, file).is_file():
        places = str(ws.root) if Path(url) == ws.dvc_remote else f"{ws.root} or the remote {url}"
        msg = f"Expected the data that this value was made from in {places}, got none there: name the workspace that it was made in with --workspace, or the remote that has the data as tracking.remote."
        raise WorkspaceError(msg)
    _dvc(ws, url, ["pull", f"{_name(file)}.dvc"])


def _dvc(ws: Workspace, url: str, *commands: Sequence[str]) -> None:
    """Run DVC's commands in the repository, up to the first that fails, in one process: importing DVC takes a second.

    The caller holds the repository's lock, so lock files left by a crash can go.
    """
    home = ws.snapshots / ".dvc"
    quoted = f"'{url}'" if '"' in url else f'"{url}"'
    config = (
        "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n    autostage = false\n    remote = store\n"
        f'[cache]\n    dir = cache\n    type = "reflink,hardlink,copy"\n[\'remote "store"\']\n    url = {quoted}\n'
    ).encode()
    place, private = home / "config", _is_secret(url)
    if not place.is_file() or place.read_bytes() != config or (private and place.stat().st_mode & 0o077):
        ws.write(place, config, private=private)
    (home / "tmp" / "rwlock").unlink(missing_ok=True)
    ran = subprocess.run(  # noqa: S603 - our own interpreter, names made of hashes
        [sys.executable, "-c", _IN_TURN, json.dumps(commands)],
        cwd=ws.snapshots,
        env={**os.environ, **QUIET, "DVC_SITE_CACHE_DIR": str(home / "site")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        lines = [line.strip() for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
        if f"[Errno {errno.ENOSPC}]" in ran.stderr or "disk is full" in ran.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the caller says where
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        said = (errors or lines or [f"exit code {ran.returncode}"])[-1]
        command = ran.stdout.rpartition(_STARTED)[2].partition("\n")[0] or commands[0][0]
        way = "fetch the data from" if command == "pull" else "store the data in"
        msg = f"Expected `dvc {command}` to {way} {masked(url)}, got: {clip(masked(said), 300)}. Free space or mend the remote (tracking.remote), then run again."
        raise WorkspaceError(msg)

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from abi.data.scratch import scratch_file, scratch_folder, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from abi.data.scratch import scratch_file, scratch_folder
descriptor, path = scratch_file(Path(sys.argv[1]))
os.write(descriptor, b"half")
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_and_what_is_held_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert died.returncode == -9
    assert len(list(tmp_path.iterdir())) == 3
    descriptor, held = scratch_file(tmp_path)
    with scratch_folder(tmp_path) as folder:
        assert len(sweep(tmp_path)) == 2
        assert {path.name for path in tmp_path.iterdir()} == {"mine", held.name, folder.name}
    os.close(descriptor)
    assert sweep(tmp_path) == [held]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_only_the_owner_reads_what_is_under_way(tmp_path: Path) -> None:
    descriptor, path = scratch_file(tmp_path)
    with scratch_folder(tmp_path) as folder:
        assert [p.stat().st_mode & 0o777 for p in (path, folder)] == [0o600, 0o700]
    os.close(descriptor)
    assert not folder.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / ".abi-link").symlink_to(outside)
    assert sweep(inside) == []
    assert outside.is_dir()

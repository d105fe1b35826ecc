"""Fetch an example's public source through DVC, checked by hash.

    python examples/fetch.py NAME

Every ``.dvc`` file of the folder names a source at one commit. A single file comes over HTTP, and its MD5 must be the one
that the ``.dvc`` file states: `dvc update` alone would write down whatever arrived. Several files come from git, whose
commit id already is a hash of them all. The ``.dvc`` files stay as they are.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml


def main() -> int:
    """0 where all is here and as stated, 1 where nothing came, 2 where no such example is, 3 where something else arrived."""
    known = {stated.parent.name: stated.parent for stated in Path(__file__).parent.glob("*/*.dvc")}
    name = " ".join(sys.argv[1:]).rstrip("/")
    if name not in known:
        got = name or "none"
        print(
            f"Expected the name of an example with a source ({', '.join(sorted(known))}), got {got}.", file=sys.stderr
        )
        return 2
    folder = known[name]
    for stated in sorted(folder.glob("*.dvc")):
        text = stated.read_text(encoding="utf-8")
        try:
            command = [sys.executable, "-m", "dvc", "update", "--quiet", stated.name]
            if subprocess.run(command, cwd=folder, check=False).returncode:
                print(f"Expected the source of {folder.name}/{stated.name} from its address, got nothing: see what DVC says above, and the network.", file=sys.stderr)  # fmt: skip
                return 1
            arrived = yaml.safe_load(stated.read_text(encoding="utf-8"))["outs"][0]
        finally:
            stated.write_text(text, encoding="utf-8")
        expected = yaml.safe_load(text)["outs"][0].get("md5")
        if expected not in (None, arrived["md5"]):
            (folder / arrived["path"]).unlink()
            print(
                f"Expected MD5 {expected} of {arrived['path']}, got {arrived['md5']}: it was deleted.", file=sys.stderr
            )
            return 3
        print(f"{folder.name}/{arrived['path']}: {arrived['size']:,} bytes, MD5 {arrived['md5']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

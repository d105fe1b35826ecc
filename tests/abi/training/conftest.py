"""What tests of training share."""

from __future__ import annotations


class Kept:
    """Checkpoints in memory: all that were ever saved. It begins with `first`."""

    def __init__(self, first: bytes | None = None) -> None:
        self.first, self.all = first, list[bytes]()

    def load(self) -> bytes | None:
        return self.all[-1] if self.all else self.first

    def save(self, data: bytes) -> None:
        self.all.append(data)

    def clear(self) -> None:
        self.all = []

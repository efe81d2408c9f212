"""A pseudo-terminal with a process on it, to type to and to read from. Not on Windows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

__all__ = ["Terminal"]

SECONDS = 30  # more than anything shown here takes to come


class Terminal:
    """Runs `command` on a terminal that is its own; at the end of the block it has ended by itself."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        rows: int = 40,
        columns: int = 120,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._controller, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (rows, columns))
        known = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        with os.fdopen(terminal, "r+b", buffering=0) as on:
            self.process = subprocess.Popen(
                command,
                stdin=on,
                stdout=on,
                stderr=on,
                cwd=cwd,
                env=dict(env or os.environ) | known,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # signals and jobs come by it
            )
        self.shown: str = ""
        """What was read, with its control sequences."""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.read()
                self.process.wait(timeout=30)
        finally:
            os.close(self._controller)
            self.process.kill()
            self.process.wait()

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self._controller, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Be as big as this from now on, and tell the process in front."""
        termios.tcsetwinsize(self._controller, (rows, columns))

    def read(self) -> str:
        """Read to the end of the process; return all that was shown."""
        while read := self._read():
            self.shown += read
        return self.shown

    def read_until(self, text: str, *, after: str = "") -> None:
        """Read on until `text` is shown, behind `after`."""
        new = ""
        while text not in new.partition(after)[2] if after else text not in new:
            read = self._read()
            assert read, f"it ended before {text!r}: {self.shown}"
            new += read
            self.shown += read

    def _read(self) -> str:
        assert select.select((self._controller,), (), (), SECONDS)[0], f"it hangs: {self.shown}"
        try:
            return os.read(self._controller, 65536).decode(errors="replace")
        except OSError:  # EIO: the other end is closed
            return ""

"""Processes: the command lines of all processes of this machine, readable for any user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_LINUX = Path("/proc/self/cmdline").exists()


def command_of(pid: int) -> str:
    """Command line of a process, its arguments joined by spaces; "" for a zombie or no process."""
    if _LINUX:
        try:
            return (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .rstrip(b"\0")
                .replace(b"\0", b" ")
                .decode(errors="replace")
            )
        except OSError:
            return ""
    return dict(commands()).get(pid, "")


def commands() -> Iterator[tuple[int, str]]:
    """Pid and command line of each process; a zombie's is empty."""
    if _LINUX:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                yield int(entry), command_of(int(entry))
        return
    output = subprocess.run(
        ["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True, errors="replace", check=False
    )
    for line in output.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command.strip()

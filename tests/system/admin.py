"""The admin at work: a process that enters a namespace and writes a sysctl.

    python admin.py COMM WRITER_NETNS FILE_NETNS SYSCTL VALUE

The file is opened in one namespace and written in the other; the process calls
itself COMM. It says nothing and its exit code is 0 even if the kernel refuses.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.system.daemon import WMEM

from bpftune.lab.namespaces import Namespace

_SCRIPT = """
import ctypes, os, sys
comm, writer, owner, path, value = map(os.fsencode, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
def enter(netns):
    fd = os.open(netns, os.O_RDONLY)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)
enter(owner)
fd = os.open(path, os.O_WRONLY)
if writer != owner:
    enter(writer)
libc.prctl(15, comm, 0, 0, 0)  # PR_SET_NAME
try:
    os.write(fd, value)
except OSError as error:
    print(error.errno)
"""


def write(
    netns: Namespace,
    value: str,
    *,
    name: str = WMEM,
    comm: bytes = b"admin",
    from_netns: Namespace | None = None,
) -> str:
    """Write *value* as another process; return the errno if it is refused."""
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-c", _SCRIPT, os.fsdecode(comm)),
            *(str((from_netns or netns).path), str(netns.path)),
            *("/proc/sys/" + name.replace(".", "/"), value),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()

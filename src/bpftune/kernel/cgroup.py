"""Find the root of the cgroup2 hierarchy, where cgroup programs attach.

It is at ``/sys/fs/cgroup`` on a unified host and anywhere on a hybrid one.
"""

from __future__ import annotations

import os
from pathlib import Path

from bpftune.kernel import mountinfo
from bpftune.kernel.errors import KernelError


def find_cgroup2(data: bytes) -> Path | None:
    """Return where *data*, a mountinfo file, has cgroup2, or None.

    A mount of the hierarchy's root is preferred: a program attached to a part
    (seen inside a container) sees the processes of that part only.
    """
    found = [mount for mount in mountinfo.parse(data) if mount.kind == "cgroup2"]
    found.sort(key=lambda mount: mount.root != "/")  # stable: else the first
    return Path(found[0].point) if found else None


def cgroup2_root() -> Path:
    """Return the mount point of cgroup2, or raise KernelError."""
    root = find_cgroup2(mountinfo.MOUNTINFO.read_bytes())
    if root is None:
        raise KernelError(
            "no cgroup2 file system is mounted",
            hint="mount one: mkdir -p /run/cgroup2 && "
            "mount -t cgroup2 none /run/cgroup2",
        )
    return root


def open_cgroup2_root() -> int:
    """Return a file descriptor of the root, to attach to; the caller closes it."""
    root = cgroup2_root()
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"cannot open {root}: {error.strerror}") from error

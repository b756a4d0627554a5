"""The file system that a kernel begins with: busybox, and modules to reach the root.

It is a ``newc`` archive, see the kernel's
``Documentation/driver-api/early-userspace/buffer-format.rst``.
"""

from __future__ import annotations

import gzip
import lzma
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the root, and the console that speaks to us, hang on.
BOOT_MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay")

_APPLETS = ("sh", "mount", "insmod", "mkdir", "poweroff", "switch_root")
_PACKED = re.compile(r"\.(gz|xz|zst)$")
_DIRECTORY, _EXECUTABLE, _FILE, _LINK = 0o40755, 0o100755, 0o100644, 0o120777


class Entry(NamedTuple):
    """A file, directory or link of the archive; *mode* as in ``struct stat``."""

    name: str
    mode: int
    content: bytes = b""


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the entries as an archive that the kernel unpacks."""
    made = bytearray()

    def pad() -> None:
        made.extend(bytes(-len(made) % 4))

    for number, entry in enumerate((*entries, Entry("TRAILER!!!", 0)), 1):
        name = entry.name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, four device numbers, name, sum
        fields = [number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0]
        fields += [len(name), 0]
        made += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        pad()
        made += entry.content
        pad()
    return bytes(made)


def module_name(path: str) -> str:
    """Return the name by which the kernel knows the module in the file *path*."""
    return Path(path).name.partition(".ko")[0].replace("-", "_")


def load_order(modules_dep: str, wanted: Iterable[str]) -> list[str]:
    """Return the files of the *wanted* modules after all that they need.

    *modules_dep* is depmod's ``modules.dep``, which names the nearest need first.
    What is not in it is built into the kernel.
    """
    needs: dict[str, list[str]] = {}
    for line in modules_dep.splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {module_name(path): path for path in needs}
    files = [by_name[name] for name in wanted if name in by_name]
    order = (one for file in files for one in (*reversed(needs[file]), file))
    return list(dict.fromkeys(order))


def unpacked(path: Path) -> bytes:
    """Return the content of a module, which may be compressed."""
    data = path.read_bytes()
    match path.suffix:
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case ".zst":
            command = ["zstd", "-dcq"]
            return subprocess.run(
                command, input=data, stdout=subprocess.PIPE, check=True
            ).stdout
    return data


def build(modules: Path, busybox: Path, init: str) -> bytes:
    """Return the archive for the kernel with these *modules*.

    *init* is the script that it runs first; ``{modules}`` in it becomes the modules,
    in the order to load them.
    """
    order = load_order((modules / "modules.dep").read_text(), BOOT_MODULES)
    entries = [
        Entry(name, _DIRECTORY) for name in ("bin", "dev", "proc", "sys", "modules")
    ]
    entries.append(Entry("bin/busybox", _EXECUTABLE, busybox.read_bytes()))
    entries += [Entry(f"bin/{name}", _LINK, b"busybox") for name in _APPLETS]
    names = []
    for file in order:
        names.append(_PACKED.sub("", Path(file).name))
        entries.append(Entry(f"modules/{names[-1]}", _FILE, unpacked(modules / file)))
    script = init.replace("{modules}", " ".join(names))
    entries.append(Entry("init", _EXECUTABLE, script.encode()))
    return archive(entries)

"""The archive that a kernel begins with."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vm.initramfs import (
    Entry,
    archive,
    build,
    load_order,
    module_name,
    unpacked,
)

MODULES_DEP = """\
kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko.xz kernel/virtio/virtio_ring.ko.xz
kernel/fs/fuse/fuse.ko.xz:
kernel/virtio/virtio_ring.ko.xz:
kernel/virtio/virtio-pci.ko.xz: kernel/virtio/virtio_ring.ko.xz
"""


def test_modules_come_after_what_they_need_and_once() -> None:
    wanted = ("virtio_pci", "virtiofs", "built_in")
    names = [module_name(path) for path in load_order(MODULES_DEP, wanted)]
    assert names == ["virtio_ring", "virtio_pci", "fuse", "virtiofs"]


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)]
)
def test_modules_are_unpacked(suffix: str, pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    path = tmp_path / f"one.ko{suffix}"
    path.write_bytes(pack(b"module"))
    assert unpacked(path) == b"module"


def test_entries_are_aligned_and_end_with_a_trailer() -> None:
    made = archive([Entry("a", 0o100644, b"12345")])
    assert made.startswith(b"070701")
    assert len(made) % 4 == 0
    assert made.index(b"12345") % 4 == 0
    assert made.rstrip(b"\0").endswith(b"TRAILER!!!")


@pytest.mark.skipif(shutil.which("cpio") is None, reason="there is no cpio")
def test_cpio_can_read_it() -> None:
    made = archive(
        [Entry("d", 0o40755), Entry("d/f", 0o100644, b"x"), Entry("l", 0o120777, b"d")]
    )
    answer = subprocess.run(
        ["cpio", "-it", "--quiet"], input=made, capture_output=True, check=True
    )
    assert answer.stdout.decode().split() == ["d", "d/f", "l"]


def test_the_first_script_knows_the_modules(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("fs/overlayfs/overlay.ko:\n")
    module = tmp_path / "fs/overlayfs/overlay.ko"
    module.parent.mkdir(parents=True)
    module.write_bytes(b"code")
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"shell")
    made = build(tmp_path, busybox, "insmod {modules}\n")
    assert b"insmod overlay.ko\n" in made
    assert b"modules/overlay.ko" in made
    assert b"shell" in made

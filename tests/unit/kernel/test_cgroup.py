"""Where cgroup2 is mounted, from mountinfo as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.kernel import mountinfo
from bpftune.kernel.cgroup import cgroup2_root, find_cgroup2, open_cgroup2_root
from bpftune.kernel.errors import KernelError

HYBRID = b"""\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:1 - cgroup2 cgroup2 rw
"""


def test_finds_it_on_a_hybrid_host() -> None:
    assert find_cgroup2(HYBRID) == Path("/sys/fs/cgroup/unified")


def test_prefers_the_whole_hierarchy_to_a_part_that_comes_first() -> None:
    part = b"9 1 0:38 /docker/42 /mnt/part rw - cgroup2 cgroup2 rw\n"
    assert find_cgroup2(part + HYBRID) == Path("/sys/fs/cgroup/unified")
    assert find_cgroup2(part) == Path("/mnt/part")


def test_undoes_the_octal_escapes_of_a_path() -> None:
    line = rb"41 31 0:38 / /mnt/a\040b\134c\011d rw - cgroup2 cgroup2 rw"
    assert find_cgroup2(line) == Path("/mnt/a b\\c\td")


def test_a_file_system_called_cgroup2_by_its_source_is_none() -> None:
    assert find_cgroup2(b"9 1 0:1 / /mnt rw - tmpfs cgroup2 rw\n") is None


def test_keeps_bytes_that_are_no_text() -> None:
    (mount,) = mountinfo.parse(b"9 1 0:4 net:[4026] /mnt/\xff rw - nsfs nsfs rw\n")
    assert mount == mountinfo.Mount("nsfs", "net:[4026]", "/mnt/\udcff")


@given(st.binary())
def test_any_bytes_are_read(data: bytes) -> None:
    find_cgroup2(data)


def test_says_what_to_do_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(b"27 1 254:0 / / rw - ext4 /dev/vda rw\n")
    monkeypatch.setattr(mountinfo, "MOUNTINFO", file)
    with pytest.raises(KernelError, match="no cgroup2") as caught:
        cgroup2_root()
    assert "mount -t cgroup2" in caught.value.hint


def test_a_root_that_cannot_be_opened_is_a_kernel_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(b"9 1 0:1 / /no/such/place rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(mountinfo, "MOUNTINFO", file)
    with pytest.raises(KernelError, match="/no/such/place"):
        open_cgroup2_root()

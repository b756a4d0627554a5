from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.trust import (
    Component,
    Writer,
    on_the_way_to,
    search_directory,
    why_not,
    within,
    writers,
)

ALICE = Writer("user", 1000)
STAFF = Writer("group", 50)
EVERYBODY = Writer("everybody", 0)


def directory(mode: int = 0o755, uid: int = 0, gid: int = 0) -> Component:
    return Component("/d", stat.S_IFDIR | mode, uid, gid)


def file(mode: int = 0o644, uid: int = 0, gid: int = 0) -> Component:
    return Component("/d/f", stat.S_IFREG | mode, uid, gid)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (file(), set()),
        (file(uid=1000), {ALICE}),
        (file(mode=0o400, uid=1000), {ALICE}),
        (file(mode=0o664, gid=50), {STAFF}),
        (directory(mode=0o2775, gid=50), {STAFF}),
        (directory(mode=0o777), {Writer("group", 0), EVERYBODY}),
        (directory(mode=0o1777), set()),
        (directory(mode=0o1777, uid=1000), {ALICE}),
        (file(mode=0o1646), {EVERYBODY}),
        (Component("/l", stat.S_IFLNK | 0o777, 0, 0), set()),
        (Component("/l", stat.S_IFLNK | 0o777, 1000, 0), {ALICE}),
    ],
)
def test_who_can_write(component: Component, expected: set[Writer]) -> None:
    assert set(writers([component])) == expected


def test_a_daemon_of_root_takes_tuners_of_root_only() -> None:
    assert why_not([directory(), file()], own=[]) == ""
    reason = why_not([directory(), file(uid=1000)], own=[])
    assert reason == "/d/f can be written by user 1000, who cannot write bpftune itself"


def test_a_daemon_in_a_checkout_takes_tuners_of_the_same_user() -> None:
    assert why_not([directory(uid=1000), file(uid=1000)], own=[ALICE]) == ""
    assert "user 1001" in why_not([file(uid=1001)], own=[ALICE])
    assert "everybody" in why_not([file(mode=0o646, uid=1000)], own=[ALICE])


@given(
    st.lists(
        st.builds(
            Component,
            st.just("/x"),
            st.builds(
                lambda kind, mode: kind | mode,
                st.sampled_from([stat.S_IFDIR, stat.S_IFREG]),
                st.integers(0, 0o777),
            ),
            st.sampled_from([0, 1000, 1001]),
            st.sampled_from([0, 50]),
        )
    )
)
def test_what_is_trusted_stays_so_when_less_is_allowed(
    components: list[Component],
) -> None:
    own = writers(components)
    assert why_not(components, own) == ""
    tighter = [one._replace(mode=one.mode & ~0o022) for one in components]
    assert why_not(tighter, own) == ""


def test_every_link_on_the_way_is_looked_at(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "f").write_text("")
    (tmp_path / "second").symlink_to("real")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    seen = [one.path for one in on_the_way_to(tmp_path / "first" / "f")]
    for name in ("first", "second", "real", "real/f"):
        assert str(tmp_path / name) in seen
    assert seen[0] == "/"


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        list(on_the_way_to(tmp_path / "a"))


def test_dots_do_not_lead_astray(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "f").write_text("")
    (tmp_path / "link").symlink_to("real/deep/../../f")
    assert list(on_the_way_to(tmp_path / "link"))[-1].path == str(tmp_path / "f")


def test_within_a_package_a_sticky_directory_is_no_excuse(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "x.py").write_text("")
    package.chmod(0o1777)
    assert EVERYBODY in writers(within(package))
    assert EVERYBODY not in writers(on_the_way_to(package))
    assert EVERYBODY in writers([search_directory(package)])
    assert str(package / "x.py") in [one.path for one in within(package)]


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        list(on_the_way_to(Path("/nonexistent/x")))
    assert os.path.lexists("/")

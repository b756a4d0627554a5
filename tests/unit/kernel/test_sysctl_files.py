"""Whose a value is, from trees of sysctl files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.kernel.sysctl_files import (
    PERSISTED,
    Problem,
    admins_values,
    files_in_order,
    is_persisted,
    parse,
    read_files,
)

WMEM = "net.ipv4.tcp_wmem"


class Tree:
    """A root directory with sysctl files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, path: str, text: str = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode(errors="surrogateescape"))
        return file

    def link(self, path: str, to: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(to)

    def values(self) -> dict[str, str]:
        return {name: one.value for name, one in admins_values(self.root).items()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_host_without_files_has_no_admins_values(tree: Tree) -> None:
    assert read_files(tree.root).admins == {}
    assert read_files(tree.root).problems == []


@pytest.mark.parametrize(
    "path", ["etc/sysctl.d/1.conf", "run/sysctl.d/1.conf", "etc/sysctl.conf"]
)
def test_etc_and_run_are_the_admins(tree: Tree, path: str) -> None:
    file = tree.put(path, f"# mine\n{WMEM} = 4096 16384 8388608\n")
    found = admins_values(tree.root)[WMEM]
    assert (found.name, found.value) == (WMEM, "4096 16384 8388608")
    assert (found.file, found.line, found.optional) == (file, 2, False)


@pytest.mark.parametrize("directory", ["usr/lib", "usr/local/lib", "lib"])
def test_a_vendors_file_is_not_the_admins(tree: Tree, directory: str) -> None:
    tree.put(f"{directory}/sysctl.d/1.conf", f"{WMEM} = 1 2 3\n")
    assert tree.values() == {}


def test_only_names_that_end_in_conf_count(tree: Tree) -> None:
    for name in ("README", "1.conf~", "1.conf.dpkg-old"):
        tree.put(f"etc/sysctl.d/{name}", f"{WMEM} = 1 2 3\n")
    assert tree.values() == {}


def test_of_one_name_etc_hides_run_hides_local_hides_usr(tree: Tree) -> None:
    places = ["lib", "usr/lib", "usr/local/lib", "run", "etc"]
    for place in places:
        file = tree.put(f"{place}/sysctl.d/1.conf", f"{WMEM} = {place}\n")
        assert files_in_order(tree.root) == [file]
    assert tree.values() == {WMEM: "etc"}


def test_files_go_by_name_over_all_directories_and_the_later_wins(tree: Tree) -> None:
    tree.put("run/sysctl.d/20.conf", f"{WMEM} = run\n")
    tree.put("etc/sysctl.d/10.conf", f"{WMEM} = etc\n")
    tree.put("usr/lib/sysctl.d/15.conf", f"{WMEM} = vendor\n")
    assert [f.name for f in files_in_order(tree.root)] == [
        "10.conf",
        "15.conf",
        "20.conf",
    ]
    assert tree.values() == {WMEM: "run"}


def test_names_are_sorted_as_bytes_not_as_numbers(tree: Tree) -> None:
    for name in ("9", "10", "a", "B"):
        tree.put(f"etc/sysctl.d/{name}.conf", f"{WMEM} = {name}\n")
    names = [file.stem for file in files_in_order(tree.root)]
    assert names == ["10", "9", "B", "a"]


def test_a_later_line_of_one_file_wins(tree: Tree) -> None:
    tree.put("etc/sysctl.d/1.conf", f"{WMEM} = 1\n{WMEM} = 2\n")
    assert admins_values(tree.root)[WMEM].line == 2


def test_sysctl_conf_comes_last(tree: Tree) -> None:
    tree.put("etc/sysctl.d/zz.conf", f"{WMEM} = d\n")
    tree.put("etc/sysctl.conf", f"{WMEM} = conf\n")
    assert tree.values() == {WMEM: "conf"}


def test_sysctl_conf_linked_into_sysctl_d_has_its_place_there(tree: Tree) -> None:
    tree.put("etc/sysctl.conf", f"{WMEM} = conf\n")
    tree.link("etc/sysctl.d/50-sysctl.conf", "../sysctl.conf")
    tree.put("etc/sysctl.d/60.conf", f"{WMEM} = d\n")
    assert tree.values() == {WMEM: "d"}


def test_a_later_vendor_file_does_not_take_it_from_the_admin(tree: Tree) -> None:
    tree.put("etc/sysctl.d/10.conf", f"{WMEM} = admin\n")
    tree.put("usr/lib/sysctl.d/50.conf", f"{WMEM} = vendor\n")
    assert tree.values() == {WMEM: "admin"}


def test_a_link_to_dev_null_masks(tree: Tree) -> None:
    tree.put("run/sysctl.d/10.conf", f"{WMEM} = run\n")
    tree.link("etc/sysctl.d/10.conf", "/dev/null")
    found = read_files(tree.root)
    assert found.admins == {}
    assert found.problems == []


def test_an_empty_file_masks_as_well(tree: Tree) -> None:
    tree.put("run/sysctl.d/10.conf", f"{WMEM} = run\n")
    tree.put("etc/sysctl.d/10.conf")
    assert tree.values() == {}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("net.ipv4.tcp_wmem", WMEM),
        ("net/ipv4/tcp_wmem", WMEM),
        ("net.ipv4.conf.eth0/100.rp_filter", "net.ipv4.conf.eth0/100.rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net.ipv4.conf.eth0/100.rp_filter"),
    ],
)
def test_either_separator_gives_the_same_name(
    tree: Tree, written: str, name: str
) -> None:
    tree.put("etc/sysctl.d/1.conf", f"{written}=1\n")
    assert tree.values() == {name: "1"}


def test_comments_blanks_and_blank_lines_mean_nothing(tree: Tree) -> None:
    text = f"#{WMEM}=1\n ; {WMEM}=2\n\n   \n\t{WMEM}\t=\t 4096  16384 1 \r\n"
    tree.put("etc/sysctl.d/1.conf", text)
    found = read_files(tree.root)
    assert found.admins[WMEM].value == "4096  16384 1"
    assert found.admins[WMEM].line == 5
    assert found.problems == []


def test_a_value_may_contain_an_equals_sign_or_be_empty(tree: Tree) -> None:
    tree.put("etc/sysctl.d/1.conf", "kernel.core_pattern=|/x a=b\nkernel.x =\n")
    assert tree.values() == {"kernel.core_pattern": "|/x a=b", "kernel.x": ""}


def test_a_dash_makes_a_line_optional(tree: Tree) -> None:
    tree.put("etc/sysctl.d/1.conf", f"-{WMEM} = 1 2 3\n")
    found = admins_values(tree.root)[WMEM]
    assert (found.value, found.optional) == ("1 2 3", True)


def test_bad_lines_are_reported_and_cost_no_other(tree: Tree) -> None:
    text = f"nonsense\n = 1\n../../etc/x = 1\n{WMEM} = 1\nnet..x = 2\n"
    file = tree.put("etc/sysctl.d/1.conf", text)
    found = read_files(tree.root)
    assert set(found.admins) == {WMEM}
    assert [(p.file, p.line) for p in found.problems] == [
        (file, 1),
        (file, 2),
        (file, 3),
        (file, 5),
    ]
    assert str(found.problems[0]) == f"{file}:1: not of the form NAME = VALUE"


def test_an_unreadable_file_is_reported_and_costs_no_other(tree: Tree) -> None:
    tree.link("etc/sysctl.d/1.conf", "nowhere")
    tree.put("etc/sysctl.d/2.conf", f"{WMEM} = 1\n")
    (tree.root / "etc/sysctl.d/3.conf").mkdir()
    os.mkfifo(tree.root / "etc/sysctl.d/4.conf")
    found = read_files(tree.root)
    assert set(found.admins) == {WMEM}
    assert [str(p) for p in found.problems] == [
        f"{tree.root}/etc/sysctl.d/1.conf: cannot be read: No such file or directory",
        f"{tree.root}/etc/sysctl.d/3.conf: is not a regular file",
        f"{tree.root}/etc/sysctl.d/4.conf: is not a regular file",
    ]


def test_a_huge_file_is_read_in_part_and_reported(tree: Tree) -> None:
    tree.put("etc/sysctl.d/1.conf", f"{WMEM} = 1\n" + "#" * (1 << 20))
    found = read_files(tree.root)
    assert set(found.admins) == {WMEM}
    assert "1 MiB" in found.problems[0].reason


def test_bytes_that_are_no_text_do_no_harm(tree: Tree) -> None:
    tree.put("etc/sysctl.d/1.conf", f"# \udcff\n{WMEM} = \udcfe\n")
    assert tree.values() == {WMEM: "\udcfe"}


@pytest.fixture
def interfaces(tree: Tree) -> Tree:
    for name in ("all", "eth0", "eth0.100"):
        tree.put(f"proc/sys/net/ipv4/conf/{name}/rp_filter", "0\n")
    return tree


RP = "net.ipv4.conf.{}.rp_filter"


@pytest.mark.parametrize(
    "pattern", ["net.ipv4.conf.*.rp_filter", "net/ipv4/conf/**/rp_filter"]
)
def test_a_pattern_sets_what_it_matches(interfaces: Tree, pattern: str) -> None:
    interfaces.put("etc/sysctl.d/1.conf", f"{pattern} = 2\n")
    assert interfaces.values() == {
        RP.format(name): "2" for name in ("all", "eth0", "eth0/100")
    }


def test_brackets_and_question_marks_match_too(interfaces: Tree) -> None:
    interfaces.put("etc/sysctl.d/1.conf", "net.ipv4.conf.[a]l?.rp_filter = 2\n")
    assert interfaces.values() == {RP.format("all"): "2"}


def test_a_line_in_full_beats_a_pattern_wherever_it_is(interfaces: Tree) -> None:
    interfaces.put("etc/sysctl.d/1.conf", f"{RP.format('eth0')} = 1\n")
    interfaces.put("etc/sysctl.d/2.conf", f"{RP.format('*')} = 2\n")
    interfaces.put("usr/lib/sysctl.d/3.conf", f"{RP.format('all')} = 3\n")
    assert interfaces.values() == {RP.format("eth0"): "1", RP.format("eth0/100"): "2"}


def test_a_name_with_a_dash_and_no_value_is_kept_off_patterns(interfaces: Tree) -> None:
    text = f"{RP.format('*')} = 2\n-{RP.format('all')}\n"
    interfaces.put("etc/sysctl.d/1.conf", text)
    assert set(interfaces.values()) == {RP.format("eth0"), RP.format("eth0/100")}
    assert read_files(interfaces.root).problems == []


def test_a_pattern_that_matches_nothing_sets_nothing(interfaces: Tree) -> None:
    interfaces.put("etc/sysctl.d/1.conf", "net.ipv6.conf.*.x = 2\nnet.ipv4.* = 1\n")
    assert interfaces.values() == {}


def test_a_sysctl_that_this_kernel_lacks_counts(interfaces: Tree) -> None:
    interfaces.put("etc/sysctl.d/1.conf", "net.ipv4.of_a_module = 1\n")
    assert interfaces.values() == {"net.ipv4.of_a_module": "1"}


@given(st.text())
def test_any_text_is_parsed_or_reported(text: str) -> None:
    problems: list[Problem] = []
    lines = list(parse(text, Path("x"), problems))
    assert len(lines) + len(problems) <= len(text.splitlines())


def test_any_pattern_is_matched_or_matches_nothing(interfaces: Tree) -> None:
    patterns = ["*", "**/**", "net.[", "net.ipv4.conf.[!a]*.***", "a**b/[]*", "*/"]
    text = "".join(f"{pattern} = 1\n" for pattern in patterns)
    interfaces.put("etc/sysctl.d/1.conf", text)
    assert all(name.startswith("net.") for name in interfaces.values())


# --- what bpftune wrote itself -----------------------------------------------


def test_a_file_that_bpftune_wrote_is_not_the_admins(tree: Tree) -> None:
    text = f"{PERSISTED}\n# more\n{WMEM} = 4096 16384 8388608\n"
    tree.put("etc/sysctl.d/90-bpftune.conf", text)
    assert tree.values() == {}
    tree.put("etc/sysctl.d/90-bpftune.conf", text.removeprefix(PERSISTED))
    assert tree.values() == {WMEM: "4096 16384 8388608"}


def test_a_file_that_bpftune_wrote_takes_nothing_from_the_admin(tree: Tree) -> None:
    text = f"{PERSISTED}\n{WMEM} = 4096 16384 8388608\n"
    tree.put("etc/sysctl.d/90-bpftune.conf", text)
    tree.put("etc/sysctl.d/10-mine.conf", f"{WMEM} = 1 2 3\n")
    assert tree.values() == {WMEM: "1 2 3"}
    tree.put("proc/sys/net/ipv4/tcp_wmem", "1 2 3")
    tree.put("etc/sysctl.d/10-mine.conf", "net.ipv4.tcp_w* = 1 2 3\n")
    assert tree.values() == {WMEM: "1 2 3"}


@pytest.mark.parametrize("before", ["\n", " ", "\ufeff", "# mine\n"])
def test_only_the_very_first_line_marks_a_file(before: str) -> None:
    assert is_persisted(PERSISTED)
    assert is_persisted(f"{PERSISTED} \r\n{WMEM} = 1 2 3\n")
    assert not is_persisted(f"{before}{PERSISTED}\n")

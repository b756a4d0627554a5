from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpftune.journald import fields
from bpftune.kinds import KINDS, NOTICE, kind_of
from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record

ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "packaging" / "bpftune.catalog"
MANUAL = ROOT / "docs" / "man" / "bpftune.8.rst"
PRIORITIES = {4: "warning", 5: "notice", 6: "info"}
HEADERS = ("Subject", "Defined-By", "Support")

# What a record of these kinds always has; others are about the daemon itself.
OF_A_TUNABLE = frozenset(
    {
        *("change", "kept", "taken_back", "shrunk", "yielded", "adopted"),
        *("rolled_back", "advice"),
    }
)


OF_A_DESTINATION = frozenset({"tries", "chosen", "ended"})


@dataclass(frozen=True)
class Explanation:
    """An entry of a catalog."""

    headers: dict[str, str]
    text: str

    def named(self) -> set[str]:
        """Return the fields that it quotes."""
        whole = "\n".join([*self.headers.values(), self.text])
        return set(re.findall(r"@([A-Z_]+)@", whole))


def parse_catalog(text: str) -> dict[str, Explanation]:
    """Return the entries by id; what journalctl would not take fails."""
    entries: dict[str, Explanation] = {}
    head, *parts = re.split(r"^-- ", text, flags=re.MULTILINE)
    assert all(not line or line.startswith("#") for line in head.splitlines())
    for part in parts:
        message_id, _, rest = part.partition("\n")
        assert re.fullmatch(r"[0-9a-f]{32}", message_id), message_id
        assert message_id not in entries
        header, blank, body = rest.partition("\n\n")
        assert blank
        lines = [line.partition(": ") for line in header.splitlines()]
        assert [name for name, _, _ in lines] == list(HEADERS)
        assert body.strip()
        assert body.count("@") % 2 == 0
        entries[message_id] = Explanation(
            {name: about for name, _, about in lines}, body
        )
    return entries


@pytest.fixture(scope="module")
def catalog() -> dict[str, Explanation]:
    return parse_catalog(CATALOG.read_text(encoding="ascii"))


def test_ids_are_random_and_never_the_same() -> None:
    ids = [kind.message_id for kind in KINDS.values()]
    assert len(set(ids)) == len(ids)
    for message_id in ids:
        # A version 4 UUID, as systemd-id128 new makes them.
        assert re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", message_id)


def test_ids_never_change() -> None:
    """Others look for them: journalctl, alerts, the catalogs of older packages."""
    assert KINDS["change"].message_id == "57f7caf3eefc48bfbd5a21f732d8321a"
    assert KINDS["yielded"].message_id == "31dbdc14a46c454ab64afb5692b1e549"
    assert KINDS["degraded"].message_id == "c5409347b2a341e897993a10ff0ca072"


def test_what_calls_for_the_admin_is_more_urgent() -> None:
    urgent = {name for name, kind in KINDS.items() if kind.priority < NOTICE}
    assert urgent == {"lost", "degraded"}
    assert kind_of("of the future").priority == NOTICE


def test_every_kind_is_explained_and_nothing_else(
    catalog: dict[str, Explanation],
) -> None:
    assert list(catalog) == [kind.message_id for kind in KINDS.values()]


@pytest.mark.parametrize("name", KINDS)
def test_explanations_quote_only_what_is_there(
    name: str, catalog: dict[str, Explanation]
) -> None:
    """journalctl puts the bare name where a field is missing."""
    record = Record(name, "why", mode="tune")
    if name in OF_A_TUNABLE:
        host = Netns(NetnsCookie(1), "host")
        record = Record(
            name,
            "why",
            "tuner",
            "net.ipv4.tcp_wmem",
            host,
            (1,),
            (2,),
            "c1" if name in {"change", "kept"} else None,
            extra={"evidence": {"n": 1}} if name == "kept" else {},
        )
    elif name in OF_A_DESTINATION:
        host = Netns(NetnsCookie(1), "host")
        facts = {"destination": "203.0.113.0/24", "evidence": {"n": 1}}
        record = Record(name, "why", "tuner", netns=host, extra=facts, mode="tune")
    assert catalog[KINDS[name].message_id].named() <= fields(record).keys()


def test_the_manual_lists_every_kind() -> None:
    rows = [tuple(line.split()) for line in MANUAL.read_text().splitlines()]
    for name, kind in KINDS.items():
        assert (name, PRIORITIES[kind.priority], kind.message_id) in rows


def test_a_catalog_is_read_strictly() -> None:
    entry = f"-- {'a' * 32}\nSubject: a\nDefined-By: b\nSupport: c\n\ntext\n"
    assert parse_catalog(entry)["a" * 32].text == "text\n"
    for wrong in (
        entry.replace("aaa", "AAA"),
        entry.replace("Subject: a\n", ""),
        entry.replace("\n\n", "\n"),
        entry.replace("text", "@FIELD"),
        entry + entry,
        "text\n" + entry,
    ):
        with pytest.raises((AssertionError, ValueError)):
            parse_catalog(wrong)


@pytest.mark.skipif(
    shutil.which("journalctl") is None, reason="there is no journalctl here"
)
def test_journalctl_takes_the_catalog(
    tmp_path: Path, catalog: dict[str, Explanation]
) -> None:
    installed = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    installed.mkdir(parents=True)
    shutil.copy(CATALOG, installed)

    def journalctl(*words: str) -> str:
        done = subprocess.run(
            ["journalctl", f"--root={tmp_path}", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    journalctl("--update-catalog")
    read = parse_catalog(journalctl("--dump-catalog"))
    assert read.keys() == catalog.keys()
    for message_id, explanation in catalog.items():
        assert read[message_id].headers == explanation.headers
        assert read[message_id].text.strip() == explanation.text.strip()

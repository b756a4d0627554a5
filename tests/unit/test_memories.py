"""What tuners keep beyond the daemon's end, and what damage to it costs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.memories import MOST_BYTES, SCHEMA, Memories, load
from bpftune.model import Event, Facts, Request, Tuner
from bpftune.records import Record
from tests.unit.fakes import RED, Clock, FakeMachine

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


class Keeping(Tuner):
    """Keeps what it is told to, and says what was done to it."""

    def __init__(self, name: str = "keeping") -> None:
        super().__init__(name, "keep something")
        self.knows: object = None
        self.restored: list[object] = []
        self.times: list[tuple[float, float]] = []
        self.did: list[str] = []
        self.failing: Exception | None = None

    def _may_fail(self, what: str) -> None:
        self.did.append(what)
        if self.failing is not None:
            raise self.failing

    def init(self, facts: Facts) -> list[Request]:
        del facts
        self.did.append("init")
        return []

    def event_handler(self, event: Event, facts: Facts) -> list[Request]:
        del event, facts
        return []

    def fini(self) -> None:
        self.did.append("fini")

    def save(self, now_s: float, now_unix_s: float) -> object:
        self.times.append((now_s, now_unix_s))
        self._may_fail("save")
        return self.knows

    def restore(self, saved: object, now_s: float, now_unix_s: float) -> None:
        self.times.append((now_s, now_unix_s))
        self._may_fail("restore")
        self.restored.append(saved)


class Shelf:
    """The memories in one directory, and what was told of them."""

    def __init__(self, directory: Path | None, *, observe: bool = False) -> None:
        self.told: list[Record] = []
        self.off: list[str] = []
        self.memories = Memories(
            directory,
            self.told.append,
            lambda tuner, why: self.off.append(f"{tuner.name}: {why}"),
            clock=Clock(7.0),
            observe=observe,
        )

    def why(self) -> str:
        """Return why the only thing told of does not work."""
        (one,) = self.told
        assert (one.record, one.tuner) == ("degraded", "keeping")
        return one.why


def file(directory: Path) -> Path:
    return directory / "tuner-keeping.json"


def kept(directory: Path, knows: object) -> Path:
    """Save what a tuner knows; return its file."""
    shelf, tuner = Shelf(directory), Keeping()
    shelf.memories.restore(tuner)
    tuner.knows = knows
    shelf.memories.save(tuner)
    assert shelf.told == []
    return file(directory)


@given(anything.filter(lambda thing: thing is not None))
def test_what_is_saved_is_what_is_restored(
    tmp_path_factory: pytest.TempPathFactory, knows: object
) -> None:
    directory = tmp_path_factory.mktemp("state") / "new"
    path = kept(directory, knows)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(directory.iterdir()) == [path]
    tuner, shelf = Keeping(), Shelf(directory)
    shelf.memories.restore(tuner)
    assert tuner.restored == [knows]
    assert (shelf.told, shelf.off) == ([], [])
    ((now_s, now_unix_s),) = tuner.times
    assert now_s == 7.0
    assert abs(now_unix_s - time.time()) < 60


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    shelf, tuner = Shelf(tmp_path), Keeping()
    shelf.memories.restore(tuner)
    tuner.knows = {"a": 1}
    shelf.memories.save(tuner)
    path = file(tmp_path)
    path.unlink()
    shelf.memories.save(tuner)
    assert not path.exists()
    tuner.knows = {"a": 2}
    shelf.memories.save(tuner)
    assert load(path, "keeping") == {"a": 2}


def test_who_knows_nothing_any_more_keeps_nothing(tmp_path: Path) -> None:
    path = kept(tmp_path, [1])
    shelf, tuner = Shelf(tmp_path), Keeping()
    shelf.memories.restore(tuner)
    shelf.memories.save(tuner)
    assert not path.exists()
    shelf.memories.save(tuner)
    tuner.knows = [1]
    shelf.memories.save(tuner)
    assert load(path, "keeping") == [1]
    tuner.knows = None
    shelf.memories.save(tuner)
    tuner.knows = [1]  # the same as was saved last, but that is gone
    shelf.memories.save(tuner)
    assert load(path, "keeping") == [1]


def test_each_tuner_has_a_file_of_its_own(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for name in ("one", "other"):
        tuner = Keeping(name)
        shelf.memories.restore(tuner)
        tuner.knows = name
        shelf.memories.save(tuner)
    assert load(tmp_path / "tuner-one.json", "one") == "one"
    assert load(tmp_path / "tuner-other.json", "other") == "other"


def test_nothing_is_overwritten_before_it_was_read(tmp_path: Path) -> None:
    """The daemon may stop before it began."""
    path = kept(tmp_path, [1])
    shelf, tuner = Shelf(tmp_path), Keeping()
    shelf.memories.save(tuner)
    assert tuner.did == []
    assert load(path, "keeping") == [1]


def test_observing_only_reads(tmp_path: Path) -> None:
    path = kept(tmp_path, [1])
    shelf, tuner = Shelf(tmp_path, observe=True), Keeping()
    shelf.memories.restore(tuner)
    assert tuner.restored == [[1]]
    tuner.knows = [2]
    shelf.memories.save(tuner)
    assert load(path, "keeping") == [1]


def test_without_a_directory_nothing_is_kept() -> None:
    shelf, tuner = Shelf(None), Keeping()
    shelf.memories.restore(tuner)
    shelf.memories.save(tuner)
    assert tuner.did == []


# --- damage --------------------------------------------------------------------------


def test_a_file_cut_at_any_byte_costs_the_memory_only(tmp_path: Path) -> None:
    path = kept(tmp_path, {"a": [1, 2.5, "b"]})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        shelf, tuner = Shelf(tmp_path), Keeping()
        shelf.memories.restore(tuner)
        assert shelf.why().startswith(f"{path} is ignored: ")
        assert (tuner.did, shelf.off) == ([], [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "it is not of schema 1"),
        ('{"schema": 2, "tuner": "keeping", "saved": 1}', "it is not of schema 1"),
        ('{"schema": 1, "tuner": "other", "saved": 1}', "it is another tuner's"),
        ('{"schema": 1, "tuner": "keeping"}', "there is nothing in it"),
        ('{"schema": 1, "tuner": "keeping", "saved": NaN}', "NaN is no number"),
        ('{"schema": 1, "tuner": "keeping", "saved": -Infinity}', "-Infinity is no"),
        (" " * (MOST_BYTES + 1), "it is too large"),
        ("[" * 200_000, "maximum recursion depth"),
        ("9" * 5000, "Exceeds the limit"),
        ("\udc80", "'utf-8' codec"),
    ],
)
def test_what_is_not_as_it_should_be_is_ignored(
    tmp_path: Path, text: str, why: str
) -> None:
    path = file(tmp_path)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    shelf, tuner = Shelf(tmp_path), Keeping()
    shelf.memories.restore(tuner)
    assert shelf.why().startswith(f"{path} is ignored: {why}")
    assert tuner.did == []
    tuner.knows = [3]
    shelf.memories.save(tuner)
    assert load(path, "keeping") == [3]


def test_what_cannot_be_read_is_ignored(tmp_path: Path) -> None:
    file(tmp_path).mkdir()
    shelf = Shelf(tmp_path)
    shelf.memories.restore(Keeping())
    assert shelf.why() == f"{file(tmp_path)} is ignored: Is a directory"


def test_what_the_tuner_does_not_take_is_ignored(tmp_path: Path) -> None:
    path = kept(tmp_path, [1])
    shelf, tuner = Shelf(tmp_path), Keeping()
    tuner.failing = ValueError("a mean is negative")
    shelf.memories.restore(tuner)
    assert shelf.why() == f"{path} is ignored: a mean is negative"
    assert shelf.off == []


@pytest.mark.parametrize("error", [KeyError("a"), RecursionError("deep")])
def test_a_tuner_that_fails_on_it_is_switched_off(
    tmp_path: Path, error: Exception
) -> None:
    path = kept(tmp_path, [1])
    shelf, tuner = Shelf(tmp_path), Keeping()
    tuner.failing = error
    shelf.memories.restore(tuner)
    (why,) = shelf.off
    assert why.startswith(f"keeping: it fails on {path}, {type(error).__name__}: ")
    assert why.endswith("without that file it would begin anew")
    assert path.exists()


# --- what cannot be saved ------------------------------------------------------------


def endless() -> list[object]:
    inside: list[object] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    ("knows", "why"),
    [
        ("x" * MOST_BYTES, "it is larger than 1 MiB"),
        ({1: object()}, "Object of type object is not JSON serializable"),
        ({(1, 2): 3}, "keys must be str, int"),
        (float("nan"), "Out of range float values are not JSON compliant"),
        (endless(), "Circular reference detected"),
    ],
)
def test_what_cannot_be_saved_is_told_once_and_the_last_file_stays(
    tmp_path: Path, knows: object, why: str
) -> None:
    shelf, tuner = Shelf(tmp_path), Keeping()
    shelf.memories.restore(tuner)
    tuner.knows = [1]
    shelf.memories.save(tuner)
    tuner.knows = knows
    for _ in range(2):
        shelf.memories.save(tuner)
    assert shelf.why().startswith(f"what it knows cannot be saved: {why}")
    assert load(file(tmp_path), "keeping") == [1]
    tuner.knows = [1]
    shelf.memories.save(tuner)  # it can again
    tuner.knows = knows
    shelf.memories.save(tuner)
    assert len(shelf.told) == 2
    assert shelf.off == []


def test_a_directory_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf, tuner = Shelf(tmp_path / "file" / "state"), Keeping()
    shelf.memories.restore(tuner)
    shelf.memories.save(tuner)
    assert shelf.told == []  # nothing is missed yet
    tuner.knows = [1]
    shelf.memories.save(tuner)
    assert shelf.why() == "what it knows cannot be saved: Not a directory"


def test_a_tuner_that_fails_to_save_is_switched_off(tmp_path: Path) -> None:
    shelf, tuner = Shelf(tmp_path), Keeping()
    shelf.memories.restore(tuner)
    tuner.failing = ZeroDivisionError("division by zero")
    shelf.memories.save(tuner)
    assert shelf.off == ["keeping: ZeroDivisionError: division by zero"]


def test_the_schema_is_part_of_the_file(tmp_path: Path) -> None:
    parsed = json.loads(kept(tmp_path, [1]).read_text())
    assert parsed == {"schema": SCHEMA, "tuner": "keeping", "saved": [1]}


# --- by the daemon -------------------------------------------------------------------


def test_the_daemon_restores_before_it_begins_and_saves_before_it_ends(
    tmp_path: Path,
) -> None:
    kept(tmp_path, [1])
    machine, tuner = FakeMachine(RED), Keeping()
    tuner.knows = [2]
    daemon = machine.daemon(tuner, state_dir=tmp_path)
    daemon.start()
    assert tuner.did == ["restore", "init"]
    machine.let_pass(daemon, 61.0)
    assert load(file(tmp_path), "keeping") == [2]
    tuner.knows = [3]
    daemon.stop()
    assert tuner.did == ["restore", "init", "save", "save", "fini"]
    assert load(file(tmp_path), "keeping") == [3]


def test_a_daemon_that_observes_saves_nothing(tmp_path: Path) -> None:
    machine, tuner = FakeMachine(RED), Keeping()
    tuner.knows = [2]
    daemon = machine.daemon(tuner, observe=True, state_dir=tmp_path)
    daemon.start()
    daemon.stop()
    assert list(tmp_path.iterdir()) == []


def test_one_tuner_that_fails_costs_no_other_its_memory(tmp_path: Path) -> None:
    kept(tmp_path, [1])
    machine, tuner, other = FakeMachine(RED), Keeping(), Keeping("other")
    tuner.failing, other.knows = KeyError("a"), [5]
    daemon = machine.daemon(tuner, other, state_dir=tmp_path)
    daemon.start()
    assert daemon.tuners == [other]
    assert tuner.did == ["restore"]
    assert "it fails on" in daemon.off["keeping"]
    other.failing = ZeroDivisionError()
    daemon.stop()
    assert daemon.tuners == []
    assert machine.kinds() == ["degraded", "degraded", "stopped"]

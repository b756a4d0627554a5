"""Loading for tuners: what one program lacks never costs another."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpftune.compile import compile_all
from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.btf import BtfError
from bpftune.kernel.cgroup import cgroup2_root
from bpftune.kernel.loader import Loader
from bpftune.model import Event, NetnsCookie, Tuner

HERE = Path(__file__).parent
PROBE, REFUSED = HERE / "probe.bpf.o", HERE / "refused.bpf.o"
CGROUP = "bpftune-test-kern"


@dataclass(frozen=True, slots=True)
class Inner:
    small: int
    number: int


@dataclass(frozen=True, slots=True)
class ThingSeen(Event):
    small: int
    negative: int
    comm: bytes
    ports: tuple[int, ...]
    inner: Inner
    yes: bool


@dataclass(frozen=True, slots=True)
class WasHere(Event):
    pass


THING = ThingSeen(
    NetnsCookie(7),
    200,
    -300,
    b"probe".ljust(16, b"\0"),
    (1, 2, 65535),
    Inner(9, -3),
    True,
)


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_all(HERE)


@pytest.fixture
def loader() -> Iterator[Loader]:
    with Loader() as empty:
        yield empty


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def add_probe(loader: Loader, name: str = "probe") -> Tuner:
    tuner = Tuner(name, "sends what a test asks for")
    constants = {"const8": 200, "const16": -300, "not_there": 1}
    verdicts = loader.add(tuner, PROBE, (ThingSeen,), constants)
    assert all(verdict.works for verdict in verdicts)
    return tuner


def test_events_arrive_decoded_with_their_tuner(loader: Loader) -> None:
    probe = add_probe(loader)
    other = Tuner("other", "says that it was here")
    loader.add(other, REFUSED, (WasHere,))
    again = add_probe(loader, "again")
    assert loader.events() == []
    for tuner, program in (
        (probe, "send_thing"),
        (other, "say_so"),
        (again, "send_thing"),
        (probe, "send_thing"),
    ):
        loader.object(tuner).run(program)
    assert loader.events() == [
        (probe, THING),
        (other, WasHere(NetnsCookie(1))),
        (again, THING),
        (probe, THING),
    ]
    assert loader.events() == []
    assert loader.lost() == {}


def test_waiting_events_make_the_descriptor_readable(loader: Loader) -> None:
    assert loader.fd == -1
    probe = add_probe(loader)
    with selectors.DefaultSelector() as selector:
        selector.register(loader.fd, selectors.EVENT_READ)
        assert not selector.select(0)
        loader.object(probe).run("send_thing")
        assert selector.select(5)


def test_programs_that_the_kernel_refuses_do_not_cost_the_others(
    loader: Loader,
) -> None:
    tuner = Tuner("refused", "mostly refused")
    verdicts = {one.program: one for one in loader.add(tuner, REFUSED, (WasHere,))}
    works = {name for name, verdict in verdicts.items() if verdict.works}
    assert works == {"say_so", "fits", "walks"}
    assert (
        verdicts["lacks_hook"].reason == "this kernel has no tracepoint no_such_thing"
    )
    assert "this kernel lacks a type or field" in verdicts["lacks_field"].reason
    assert "no_such_field" in verdicts["lacks_field"].reason
    assert "unbounded memory access" in verdicts["reads_anywhere"].reason
    assert "no cgroup2" in verdicts["in_cgroup"].reason
    loader.object(tuner).run("say_so")
    assert loader.events() == [(tuner, WasHere(NetnsCookie(1)))]
    assert loader.iterate(tuner, "walks") == b""


def test_programs_for_cgroups_are_attached_there_and_go_with_the_loader(
    loader: Loader,
) -> None:
    path = cgroup2_root() / CGROUP
    path.mkdir(exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        tuner = Tuner("refused", "mostly refused")
        verdicts = loader.add(tuner, REFUSED, (WasHere,), {}, fd)
        assert [one.works for one in verdicts if one.program == "in_cgroup"] == [True]
        loader.close()
    finally:
        os.close(fd)
        path.rmdir()


def test_an_object_that_cannot_be_loaded_at_all_is_a_verdict_on_each_program(
    loader: Loader,
) -> None:
    tuner = Tuner("impossible", "nobody can load it")
    verdicts = loader.add(tuner, HERE / "impossible.bpf.o", ())
    assert [(one.program, one.works) for one in verdicts] == [
        ("first", False),
        ("second", False),
    ]
    assert all("odd" in one.reason and "EINVAL" in one.reason for one in verdicts)
    with pytest.raises(BpfError, match="no BPF object of tuner impossible is loaded"):
        loader.object(tuner)
    loader.object(add_probe(loader)).run("send_thing")
    assert len(loader.events()) == 1


def test_losses_are_counted_by_tuner_and_cause(loader: Loader) -> None:
    probe = add_probe(loader)
    other = Tuner("other", "says that it was here")
    loader.add(other, REFUSED, (WasHere,))
    loader.object(probe).run("send_garbage")
    assert loader.events() == []
    assert loader.lost() == {
        "probe": {"undecodable": 1},
        "(unknown)": {"sender unknown": 1},
    }
    while loader.object(probe).run("send_filler") == 0:
        pass
    # What is too small for a filler may still have room for this.
    while "other" not in loader.lost():
        loader.object(other).run("say_so")
    lost = loader.lost()
    assert lost["probe"]["ring buffer full"] == 1
    assert lost["other"] == {"ring buffer full": 1}
    # The fillers are of no class that the tuner named.
    assert {event for _, event in loader.events()} <= {WasHere(NetnsCookie(1))}
    assert loader.lost()["probe"]["sender unknown"] > 100


@dataclass(frozen=True, slots=True)
class FillerSent(Event):
    words: int


def test_an_event_that_differs_from_its_struct_stops_the_tuner(loader: Loader) -> None:
    before = open_files()
    with pytest.raises(BtfError, match=r"filler_sent.words: annotate it with tuple"):
        loader.add(Tuner("wrong", "differs"), PROBE, (FillerSent,))
    assert open_files() == before
    loader.object(add_probe(loader)).run("send_thing")
    assert len(loader.events()) == 1


def test_a_missing_object_is_an_error_and_costs_nobody_else(loader: Loader) -> None:
    with pytest.raises(BpfError, match="ENOENT"):
        loader.add(Tuner("gone", "is gone"), HERE / "gone.bpf.o", ())
    loader.object(add_probe(loader)).run("send_thing")
    assert len(loader.events()) == 1


def test_nothing_is_left_after_closing() -> None:
    before = open_files()
    loader = Loader()
    add_probe(loader)
    loader.add(Tuner("other", "other"), REFUSED, (WasHere,))
    for _ in range(2):
        loader.close()
    assert open_files() == before
    assert loader.events() == []
    assert loader.fd == -1

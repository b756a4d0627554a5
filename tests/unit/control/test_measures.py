from __future__ import annotations

import gc
import re
from dataclasses import dataclass

import pytest

from bpftune import __version__, tables
from bpftune.control.measures import fields_of
from bpftune.model import NetnsCookie, Put, Table, Tunable
from tests.unit.control.scene import Scene
from tests.unit.fakes import HOST, MEMORY, MIB, RED, TCP_WMEM, FakeMap, wmem
from tests.unit.openmetrics import read
from tests.unit.test_daemon import Seen

PORTS = Tunable("net.ipv4.ip_local_port_range", is_range=True)


@dataclass(frozen=True)
class Place:
    netns_cookie: NetnsCookie


def values(scene: Scene, family: str) -> dict[tuple[str, ...], float]:
    """Return the samples of *family* as Prometheus reads them, by label values."""
    metrics = read(scene.ask("Metrics")["text"])
    return {
        tuple(sample.labels.values()): sample.value
        for sample in metrics[family].samples
    }


def test_tells_what_runs(scene: Scene) -> None:
    assert values(scene, "bpftune_build") == {(__version__,): 1}
    assert values(scene, "bpftune_mode") == {("tune",): 1}
    states = values(scene, "bpftune_tuner_state")
    assert states["scripted", "on"] == 1
    assert sum(states.values()) == 2
    scene.ask("Pause", what="scripted")
    states = values(scene, "bpftune_tuner_state")
    assert (states["scripted", "on"], states["scripted", "paused"]) == (0, 1)


def test_an_observing_daemon_says_so(observing: Scene) -> None:
    assert values(observing, "bpftune_mode") == {("observe",): 1}


def test_a_value_is_told_beside_its_bounds(scene: Scene) -> None:
    scene.see(HOST)
    scene.see(RED)
    name = TCP_WMEM.name
    assert values(scene, "bpftune_tunable_value") == {
        (name, "min"): 4096,
        (name, "default"): 16384,
        (name, "max"): 8 * MIB,
    }
    assert values(scene, "bpftune_tunable_bound") == {
        (name, "lower"): 4 * MIB,
        (name, "upper"): MEMORY.total_bytes // 64,
    }
    assert values(scene, "bpftune_in_force") == {(): 2}
    assert values(scene, "bpftune_netns_tracked") == {(): 2}


def test_counts_changes_reverts_and_what_became_the_admins(scene: Scene) -> None:
    scene.see(HOST)
    scene.see(RED)
    scene.ask("Rollback", netns="red")
    scene.machine.sysctls.by_admin(HOST, wmem(5 * MIB))
    scene.see(HOST)
    name = TCP_WMEM.name
    assert values(scene, "bpftune_changes") == {("scripted", name, "trial"): 2}
    assert values(scene, "bpftune_reverts") == {("scripted", name, "rolled_back"): 1}
    assert values(scene, "bpftune_yields") == {(name,): 1}


def test_tells_what_is_in_force_in_tables_and_what_they_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BpfMap", FakeMap)
    table = Table("places", Place, Place)
    put = Put(table, Place(RED.cookie), Place(RED.cookie))
    assert values(scene, "bpftune_destinations_in_force")["scripted",] == 0
    scene.tuner.answers[Seen] = [put]
    scene.see(RED)
    assert values(scene, "bpftune_destinations_in_force") == {
        ("sysctl",): 0,
        ("scripted",): 1,
    }
    assert values(scene, "bpftune_table_evicted") == {("scripted", "places"): 0}


def test_counts_events_and_what_was_lost(scene: Scene) -> None:
    scene.machine.loader.queue(scene.tuner, Seen(RED.cookie), Seen(RED.cookie))
    scene.daemon.drain()
    scene.machine.loader.losses = {"scripted": {"ring buffer full": 3}}
    assert values(scene, "bpftune_events_received") == {
        ("sysctl",): 0,
        ("scripted",): 2,
    }
    assert values(scene, "bpftune_events_lost") == {("scripted", "ring buffer full"): 3}


def test_tells_how_full_the_maps_are(scene: Scene) -> None:
    assert values(scene, "bpftune_map_entries") == {("scripted.seen",): 3}
    assert values(scene, "bpftune_map_capacity") == {
        ("events",): 4096,
        ("scripted.seen",): 1024,
    }


def test_tells_its_own_cost(scene: Scene) -> None:
    for name in ("cpu_seconds", "resident_memory_bytes", "open_fds"):
        assert values(scene, f"process_{name}")[()] > 0
    assert values(scene, "process_start_time_seconds")[()] > 1.7e9


def test_tells_how_much_is_kept(scene: Scene) -> None:
    def blocks() -> float:
        gc.collect()
        return values(scene, "bpftune_python_blocks")[()]

    for _ in range(3):
        before = blocks()
    kept = [(str(number), [number]) for number in range(10_000)]
    assert blocks() - before > 3 * len(kept)
    del kept
    assert abs(blocks() - before) < 2000


def test_no_peer_and_no_process_is_in_a_label(scene: Scene) -> None:
    scene.see(HOST)
    scene.see(RED)
    for metric in read(scene.ask("Metrics")["text"]).values():
        for sample in metric.samples:
            assert not {"pid", "address", "prefix", "netns"} & sample.labels.keys()
            for label in sample.labels.values():
                assert not re.search(r"\d+\.\d+\.\d+\.\d+|::", label)


@pytest.mark.parametrize(
    ("tunable", "count", "fields"),
    [
        (TCP_WMEM, 3, ("min", "default", "max")),
        (PORTS, 2, ("low", "high")),
        (Tunable("a.b"), 1, ("value",)),
        (Tunable("a.b"), 4, ("0", "1", "2", "3")),
    ],
)
def test_each_number_has_a_name(
    tunable: Tunable, count: int, fields: tuple[str, ...]
) -> None:
    assert fields_of(tunable, count) == fields

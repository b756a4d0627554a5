"""The whole of it over a real socket, with a client that is not ours."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import varlink  # type: ignore[import-untyped]  # it has no types

from bpftune import __version__
from bpftune.control.control import read_book, trusted_group
from bpftune.records import Record
from tests.unit.control.scene import Scene
from tests.unit.fakes import FOUND, HOST, MIB, RED, TCP_WMEM, wmem
from tests.unit.openmetrics import read
from tests.unit.test_daemon import Seen

ANSWER_S = 0.1


@pytest.fixture
def served(scene: Scene) -> Scene:
    scene.serve()
    return scene


@pytest.fixture
def client(served: Scene) -> Iterator[varlink.Client]:
    with varlink.Client(f"unix:{served.path}") as made:
        yield made


@pytest.fixture
def peer(client: varlink.Client) -> Iterator[Any]:
    with client.open("io.bpftune") as connection:
        yield connection


# --- varlink's own client ----------------------------------------------------------


def test_tells_a_varlink_client_what_it_is(client: varlink.Client) -> None:
    with client.open("org.varlink.service") as service:
        info = service.GetInfo()
        assert info["product"] == "bpftune"
        assert info["version"] == __version__
        assert info["interfaces"] == ["org.varlink.service", "io.bpftune"]
        for name in info["interfaces"]:
            text = service.GetInterfaceDescription(name)["description"]
            assert f"interface {name}" in text
        with pytest.raises(varlink.InterfaceNotFound):
            service.GetInterfaceDescription("io.nothing")


def test_a_varlink_client_calls_every_method_that_looks(peer: Any) -> None:
    assert peer.Status()["mode"] == "tune"
    assert peer.Tunables() == {"tunables": []}
    assert peer.History() == {"records": []}
    assert peer.Advise() == {"advice": []}
    assert peer.Verify() == {"checked": 0, "drift": []}
    assert peer.Metrics()["text"].endswith("# EOF\n")


def test_replies_are_of_the_types_that_the_interface_promises(
    served: Scene, client: varlink.Client, peer: Any
) -> None:
    served.call("Pause", what="red")
    served.see(HOST)
    interface = client.get_interface("io.bpftune")
    for name in ("Status", "Tunables", "Verify", "Advise", "History", "Metrics"):
        reply = getattr(peer, name)()
        # What the description does not know is filtered out, what differs raises.
        method = interface.get_method(name)
        again = interface.filter_params("t", method.out_type, False, reply, None)
        assert again == reply
        assert {*method.out_type.fields} == {*served.ask(name)}


def test_a_varlink_client_is_told_what_is_wrong(served: Scene, peer: Any) -> None:
    with pytest.raises(varlink.VarlinkError) as told:
        peer.Explain("net.ipv4.nothing")
    assert told.value.error() == "io.bpftune.NoSuch"
    reply = served.call("Explain", about=1)
    assert reply["error"] == "org.varlink.service.InvalidParameter"
    assert reply["parameters"] == {"parameter": "about"}
    for name, error in (("Nothing", "MethodNotFound"), ("Watch", "ExpectedMore")):
        assert served.call(name)["error"] == f"org.varlink.service.{error}"
    served.uid = 1000
    with (
        varlink.Client(f"unix:{served.path}") as unprivileged,
        unprivileged.open("io.bpftune") as other,
        pytest.raises(varlink.VarlinkError) as told,
    ):
        other.Pause()
    assert told.value.error() == "io.bpftune.NotPermitted"


def test_a_varlink_client_watches_what_happens(served: Scene, peer: Any) -> None:
    records = peer.Watch(_more=True)
    heard: list[dict[str, Any]] = []

    def listen() -> None:
        heard.append(next(records)["record"])

    thread = threading.Thread(target=listen)
    thread.start()
    _until(lambda: served.control.server.has_watchers)
    served.machine.loader.queue(served.tuner, Seen(RED.cookie))
    thread.join(5)
    (told,) = heard
    assert told["record"] == "change"
    assert told["netns"]["name"] == "red"


def _until(holds: Any) -> None:
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s
        threading.Event().wait(0.005)


# --- who may know ------------------------------------------------------------------


def test_peers_are_shown_to_root_only(scene: Scene) -> None:
    scene.see()
    assert "10.0.0.0/24" not in json.dumps(scene.ask("History", 1000))
    scene.sink.write(Record("kept", "sockets to 10.9.8.0/24 gained"))
    assert "10.9.8.0/24" in json.dumps(scene.ask("History", 0))
    hidden = json.dumps(scene.ask("History", 1000))
    assert "10.9.8" not in hidden
    assert "(hidden)" in hidden


def test_a_watcher_without_rights_sees_no_peers(scene: Scene) -> None:
    clients = []
    for uid in (0, 1000):
        scene.uid = uid
        one = socket.socket(socket.AF_UNIX)
        one.connect(str(scene.path))
        one.sendall(b'{"method":"io.bpftune.Watch","more":true}\0')
        for _ in range(5):
            scene.control.turn()
        clients.append(one)
    scene.sink.write(Record("kept", "sockets to 2001:db8:1::/48 gained"))
    texts = []
    for one in clients:
        one.settimeout(5)
        texts.append(one.recv(1 << 16).decode())
        one.close()
    assert "2001:db8:1::/48" in texts[0]
    assert "2001" not in texts[1].replace('"time":"2001', "")
    assert "(hidden)" in texts[1]


def test_nobody_finds_out_by_asking_who_the_peers_are(scene: Scene) -> None:
    for about in ("10.9.8.0/24", "10.9.8.7", "2001:db8::/48", "::1"):
        reply = scene.call("Explain", 1000, about=about)
        assert reply["error"] == "io.bpftune.NotPermitted"
        assert scene.call("Explain", 0, about=about)["error"] == "io.bpftune.NoSuch"


# --- metrics in a file ---------------------------------------------------------------


def test_metrics_are_in_a_file_from_the_start_and_renewed(scene: Scene) -> None:
    path = scene.run_dir / "metrics.prom"
    assert not path.exists()
    scene.control.turn()
    text = path.read_text()
    assert "bpftune_in_force" in read(text)
    scene.see()
    scene.control.turn()
    assert path.read_text() == text
    scene.machine.clock.now_s += 60
    scene.control.turn()
    assert "bpftune_in_force 1\n" in path.read_text()
    assert [one.name for one in scene.run_dir.iterdir() if "prom" in one.name] == [
        "metrics.prom"
    ]


def test_no_room_for_metrics_is_told_and_costs_nothing_else(scene: Scene) -> None:
    (scene.run_dir / "metrics.prom").mkdir()
    assert scene.ask("Status")["mode"] == "tune"
    assert "no metrics" in scene.told("degraded")[0].why


# --- under load ----------------------------------------------------------------------


ROUNDS = 5
ROUND_S = 1.0


def flooded_round(served: Scene) -> list[float]:
    """Return how long answers took, sorted, while 10,000 events a second arrived.

    Nothing if this machine was too busy to send so many.
    """
    stop = threading.Event()
    event = Seen(RED.cookie)
    began_s, before = time.monotonic(), served.daemon.inbox.received["scripted"]
    sent = 0

    def flood() -> None:
        nonlocal sent
        while not stop.is_set():
            due = int((time.monotonic() - began_s) * 10_000)
            served.machine.loader.queue(served.tuner, *[event] * (due - sent))
            sent = due
            stop.wait(0.005)

    thread = threading.Thread(target=flood)
    thread.start()
    took_s = []
    try:
        while time.monotonic() < began_s + ROUND_S:
            asked_s = time.monotonic()
            assert served.ask("Status")["pid"] > 0
            took_s.append(time.monotonic() - asked_s)
    finally:
        stop.set()
        thread.join()
    _until(
        lambda: (
            served.daemon.inbox.received["scripted"] - before == sent
            and not served.daemon.inbox
        )
    )
    return sorted(took_s) if sent > 9000 * ROUND_S else []


def test_answers_while_ten_thousand_events_a_second_arrive(served: Scene) -> None:
    # Others want the processor too: what is measured is the best of a few rounds.
    served.tuner.give_up_after = 10**9
    served.tuner.answers[Seen] = []
    worst_s = []
    for _ in range(ROUNDS):
        took_s = flooded_round(served)
        served.tuner.heard.clear()
        if not took_s:
            continue
        worst_s.append(took_s[-1])
        print(
            f"{len(took_s)} answers, median {took_s[len(took_s) // 2] * 1e3:.1f} ms, "
            f"worst {took_s[-1] * 1e3:.1f} ms"
        )
        if worst_s[-1] < ANSWER_S:
            break
    assert worst_s, "this machine was too busy to send 10,000 events a second"
    assert min(worst_s) < ANSWER_S


def test_tunes_while_a_client_asks_without_end(served: Scene) -> None:
    served.uid = 1000
    with socket.socket(socket.AF_UNIX) as flood:
        flood.connect(str(served.path))
        flood.setblocking(False)
        end_s = time.monotonic() + 5
        served.machine.loader.queue(served.tuner, Seen(RED.cookie))
        while served.machine.sysctls.largest(RED) == FOUND[2]:
            assert time.monotonic() < end_s
            try:
                flood.send(b'{"method":"io.bpftune.Status","oneway":true}\0' * 100)
            except BlockingIOError:
                threading.Event().wait(0.001)
    assert served.machine.sysctls.largest(RED) == 8 * MIB


# --- what was ignored before ---------------------------------------------------------


def test_a_broken_file_of_what_is_ignored_is_told_of_and_left(tmp_path: Path) -> None:
    path = tmp_path / "ignored.json"
    path.write_text("{}")
    records: list[Record] = []
    assert read_book(tmp_path, "boot", records.append).all() == []
    assert records[0].record == "degraded"
    assert str(path) in records[0].why
    path.unlink()
    records.clear()
    read_book(tmp_path, "boot", records.append)
    assert not records


def test_the_group_is_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "group"
    assert trusted_group(file) is None
    file.write_text("root:x:0:\nbpftune:x:977:alice\n")
    assert trusted_group(file) == 977


def test_values_are_whole(scene: Scene) -> None:
    scene.see()
    (one,) = scene.ask("Status")["in_force"]
    assert one["found"] == list(FOUND)
    assert one["expected"] == list(wmem(8 * MIB))
    assert one["tunable"] == TCP_WMEM.name

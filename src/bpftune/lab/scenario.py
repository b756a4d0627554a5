"""What a scenario is: a path, its limits and the traffic on it.

A scenario is data. Its fields can be overridden by the keys of ``PARAMETERS``,
as in ``--set rate=100mbit``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from bpftune.lab.errors import LabError
from bpftune.lab.queue import bandwidth_delay_bytes
from bpftune.lab.traffic import Bulk, Bursts, Downloads, Requests, Traffic, Transfers
from bpftune.lab.values import (
    parse_count,
    parse_duration_ns,
    parse_factor,
    parse_family,
    parse_rate,
    parse_seconds,
    parse_share,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1 << 10
MIB = 1 << 20
ROOMY_BYTES = 128 * MIB
"""A limit that no scenario's path comes near."""

TRAFFICS = ("bulk", "bursts", "requests", "transfers", "downloads", "stalled")

T = TypeVar("T")


class ScenarioError(LabError):
    """No such scenario, or no such parameter."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One sender's namespace, a path to a receiver's, and traffic between them.

    *rate_bits_per_s* None is a veth pair without any delay. Buffer limits that
    are None stay as the kernel has them. *queue_bytes* None is *queue_bdp*
    bandwidth-delay products. *content_flows* more flows run beside, from the same
    sender to another destination over a path of 50 Mbit/s and 20 ms where
    nothing is short. *foreign_flows* more have the same to send over the same
    path, and chose cubic themselves. *also* is more traffic of the same sender over
    the same path, with these settings. With *second* a router leads to the receiver,
    and to another destination over a path that differs in these settings; *turns* are
    settings that change meanwhile: see ``turns``. With *tuner_after_s* the tuner
    starts that long after the traffic. With *uid* the traffic is that user's, see
    ``Traffic``.

    *hurry* is how many times shorter than usual bpftune's blocks of time are.
    """

    name: str
    summary: str
    traffic: str = "bulk"
    rate_bits_per_s: int | None = None
    rtt_ns: int = 0
    queue_bytes: int | None = None
    queue_bdp: float = 1.0
    loss: float = 0.0
    flows: int = 1
    congestion_control: str | None = "cubic"
    family: int = 4
    seconds: float = 60.0
    wmem_max_bytes: int | None = None
    rmem_max_bytes: int | None = ROOMY_BYTES
    wmem_initial_bytes: int | None = None
    rmem_initial_bytes: int | None = None
    rcvbuf_bytes: int | None = None
    sndbuf_bytes: int | None = None
    reconnect_s: float | None = None
    burst_bytes: int = 768 * KIB
    every_s: float = 0.25
    request_bytes: int = 4 * KIB
    response_bytes: int = 128
    transfer_bytes: int = 300_000
    think_s: float = 0.0
    content_flows: int = 0
    foreign_flows: int = 0
    second: str = ""
    also: str = ""
    turns: str = ""
    tuner_after_s: float = 0.0
    hurry: float = 1.0
    uid: int | None = None

    def path(self) -> dict[str, Any]:
        """Return the settings of an emulated path, see ``link.PathSettings``."""
        rate, queue_bytes = self.rate_bits_per_s or 0, self.queue_bytes
        if queue_bytes is None and self.queue_bdp != 1:
            bdp_bytes = bandwidth_delay_bytes(rate, self.rtt_ns)
            queue_bytes = round(self.queue_bdp * bdp_bytes)
        return {
            "rate_bits_per_s": rate,
            "rtt_ns": self.rtt_ns,
            "queue_bytes": queue_bytes,
            "loss": self.loss,
        }

    def make_traffic(self) -> Traffic:
        """Return the traffic to be measured."""
        common: dict[str, Any] = {
            "flows": self.flows,
            "rcvbuf_bytes": self.rcvbuf_bytes,
            "sndbuf_bytes": self.sndbuf_bytes,
            "uid": self.uid,
        }
        if self.traffic == "bursts":
            return Bursts(burst_bytes=self.burst_bytes, every_s=self.every_s, **common)
        if self.traffic == "requests":
            return Requests(
                request_bytes=self.request_bytes,
                response_bytes=self.response_bytes,
                think_s=self.think_s,
                **common,
            )
        if self.traffic in {"transfers", "downloads"}:
            kind = Transfers if self.traffic == "transfers" else Downloads
            return kind(
                transfer_bytes=self.transfer_bytes, think_s=self.think_s, **common
            )
        if self.traffic == "stalled":
            return Bulk(reads=False, **common)
        return Bulk(reconnect_s=self.reconnect_s, **common)


def default_or(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser that takes ``default`` for None, too."""
    return lambda text: None if text == "default" else parse(text)


def parse_traffic(text: str) -> str:
    """Return the name of a kind of traffic."""
    if text not in TRAFFICS:
        raise ScenarioError(f"traffic is one of {', '.join(TRAFFICS)}")
    return text


PARAMETERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "traffic": ("traffic", parse_traffic, ", ".join(TRAFFICS)),
    "rate": ("rate_bits_per_s", parse_rate, "of the path: 300mbit"),
    "rtt": ("rtt_ns", parse_duration_ns, "of the path: 200ms"),
    "queue": ("queue_bytes", default_or(parse_size), "default: bdp times rate x rtt"),
    "bdp": ("queue_bdp", parse_factor, "queue by rate x rtt: 0.25"),
    "loss": ("loss", parse_share, "of packets, each direction: 0.3%"),
    "flows": ("flows", parse_count, "how many at once"),
    "cc": ("congestion_control", default_or(str), "congestion control"),
    "family": ("family", parse_family, "4 or 6"),
    "seconds": ("seconds", parse_seconds, "how long"),
    "wmem": ("wmem_max_bytes", default_or(parse_size), "sender's tcp_wmem max"),
    "rmem": ("rmem_max_bytes", default_or(parse_size), "receiver's tcp_rmem max"),
    "wmem_initial": (
        "wmem_initial_bytes",
        default_or(parse_size),
        "sender's tcp_wmem default",
    ),
    "rmem_initial": (
        "rmem_initial_bytes",
        default_or(parse_size),
        "receiver's tcp_rmem default",
    ),
    "rcvbuf": ("rcvbuf_bytes", default_or(parse_size), "receiver's SO_RCVBUF"),
    "sndbuf": ("sndbuf_bytes", default_or(parse_size), "senders' SO_SNDBUF"),
    "reconnect": ("reconnect_s", default_or(parse_seconds), "life of a connection"),
    "burst": ("burst_bytes", parse_size, "size of a burst"),
    "every": ("every_s", parse_seconds, "time between bursts"),
    "request": ("request_bytes", parse_size, "size of a request"),
    "response": ("response_bytes", parse_size, "size of a response"),
    "transfer": ("transfer_bytes", parse_size, "size of a transfer"),
    "think": ("think_s", parse_seconds, "pause before the next request or transfer"),
    "content": ("content_flows", parse_count, "flows to another destination"),
    "foreign": ("foreign_flows", parse_count, "flows beside that chose cubic"),
    "second": ("second", str, "another destination: 'loss=1% flows=4'"),
    "also": ("also", str, "more over the same path: 'traffic=transfers flows=2'"),
    "turns": ("turns", str, "changes: '60s bdp=0.25 flows=4; 120s bdp=1 flows=1'"),
    "late": ("tuner_after_s", parse_seconds, "how much later the tuner starts"),
    "hurry": ("hurry", parse_factor, "how much shorter bpftune's blocks are"),
    "uid": ("uid", default_or(parse_count), "who sends and receives"),
}


def override(scenario: Scenario, settings: list[str]) -> Scenario:
    """Return *scenario* with ``key=value`` settings of ``PARAMETERS`` applied."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in PARAMETERS:
            known = " ".join(PARAMETERS)
            raise ScenarioError(f"{setting!r}: write KEY=VALUE, KEY one of {known}")
        field, parse, _ = PARAMETERS[key]
        scenario = replace(scenario, **{field: parse(text)})
    if scenario.seconds < 1:
        raise ScenarioError("a run takes at least one second")
    if scenario.every_s <= 0:
        raise ScenarioError("every=0s: bursts need some time between them")
    if scenario.rate_bits_per_s is None and (scenario.rtt_ns or scenario.loss):
        raise ScenarioError(f"{scenario.name} is a veth pair: set a rate for a path")
    for word, initial, maximum in (
        ("wmem", scenario.wmem_initial_bytes, scenario.wmem_max_bytes),
        ("rmem", scenario.rmem_initial_bytes, scenario.rmem_max_bytes),
    ):
        if initial is not None and not 1 <= initial <= (maximum or initial):
            raise ScenarioError(f"{word}_initial is at least one byte, at most {word}")
    sizes = scenario.request_bytes, scenario.response_bytes, scenario.transfer_bytes
    if min(sizes) < 1:
        raise ScenarioError("request, response and transfer are at least one byte")
    return scenario

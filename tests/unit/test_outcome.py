from __future__ import annotations

import json

from bpftune.model import Change, Keep
from bpftune.outcome import Finding, Known, Level, Measured, Trial
from bpftune.records import Record, as_json
from tests.unit.fakes import TCP_WMEM, wmem

MIB = 1 << 20


def measured(**change: float) -> Measured:
    """What ten sockets did, of which two were held back."""
    fields = {
        "bytes_per_s": 23_000_000,
        "spread_nats": 0.02,
        "sockets": 10,
        "sockets_held_back": 2,
        "looks": {"our send buffer": 40},
        "retransmitted_share": 0.001,
        "srtt_us": 200_000,
        "min_rtt_us": 190_000,
    }
    return Measured(**{**fields, **change})  # type: ignore[arg-type]


def trial(**change: object) -> Trial:
    """A trial that paid."""
    fields: dict[str, object] = {
        "destination": "10.0.1.0/24",
        "old_size": 4 * MIB,
        "size": 8 * MIB,
        "pressure": 0.98765,
        "predicted_nats": 0.6931,
        "before": measured(),
        "after": measured(bytes_per_s=45_000_000),
        "gain_nats": 0.671234,
        "gain_error_nats": 0.02222,
        "finding": Finding.PAID,
        "proved": True,
        "first_won": True,
    }
    return Trial(**{**fields, **change})  # type: ignore[arg-type]


def test_a_record_carries_a_trial_as_plain_json() -> None:
    record = Record("kept", "it paid", extra={"trial": trial().as_facts()})
    told = json.loads(as_json(record, 0.0))["trial"]
    assert told["finding"] == "paid"
    assert told["predicted_nats"] == 0.6931
    assert told["gain_nats"] == 0.6712
    assert told["pressure"] == 0.988
    assert told["randomised"] is False
    assert told["before"]["sockets"] == 10
    assert told["before"]["looks"] == {"our send buffer": 40}
    assert told["after"]["bytes_per_s"] == 45_000_000
    assert set(told) == set(Trial.__dataclass_fields__)


def test_a_trial_under_way_has_no_outcome_yet() -> None:
    begun = trial(after=None, gain_nats=None, gain_error_nats=None, finding=None)
    told = json.loads(json.dumps(begun.as_facts()))
    assert told["after"] is told["gain_nats"] is told["finding"] is None


def test_nothing_is_known_at_first() -> None:
    assert Known() == Known({}, {})
    assert Level().trials == 0
    assert Level(2.0, 1.5).trials == 3.5


def test_requests_may_carry_a_trial_and_need_not() -> None:
    assert Change(TCP_WMEM, wmem(8 * MIB), "").tried is None
    assert Keep(TCP_WMEM, "", proved=True, tried=trial()).tried == trial()

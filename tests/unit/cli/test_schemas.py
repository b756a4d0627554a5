"""What the verbs answer with --json is what their schemas say, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from tests.unit.cli.schemas import NAMES, check, read
from tests.unit.cli.served import CHANGE, KEPT, Served, record

from bpftune.cli import VERBS, main
from bpftune.kinds import KINDS
from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record, as_json

WORDS = {
    "status": "status",
    "history": "history",
    "explain": "explain c17",
    "advise": "advise",
    "apply": "apply a3f9c1",
    "ignore": "ignore a3f9c1",
    "verify": "verify",
    "rollback": "rollback --all",
    "pause": "pause tcp_buffer",
    "resume": "resume",
    "adopt": "adopt net.ipv4.tcp_wmem",
    "metrics": "metrics",
}


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_one(name: str) -> None:
    schema = read(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["title"]


def test_each_verb_that_answers_has_a_schema() -> None:
    other = {"run", "observe", "lab"}  # they tell records; bpftune-lab(8)
    assert set(VERBS) - other == set(NAMES) - {"record", "types"}


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("verb", WORDS)
def test_an_answer_is_as_its_schema_says(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*WORDS[verb].split(), "--json"])
    output = capsys.readouterr()
    assert not output.err
    answer = json.loads(output.out)
    assert next(iter(answer)) == "schema"
    check(verb, answer)
    wrong = {**answer, "surprise": 1}
    with pytest.raises(ValidationError):
        check(verb, wrong)
    for field in answer:
        with pytest.raises(ValidationError):
            check(verb, {key: answer[key] for key in answer if key != field})


@pytest.mark.usefixtures("daemon")
def test_persist_is_as_its_schema_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["persist", "--json", "--file", str(tmp_path / "x.conf")])
    check("persist", json.loads(capsys.readouterr().out))


@pytest.mark.usefixtures("daemon")
def test_watch_tells_one_record_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["watch", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [CHANGE, KEPT]
    for line in lines:
        check("watch", line)


@pytest.mark.parametrize("verb", ["tuners", "tunables"])
def test_what_needs_no_daemon_is_as_its_schema_says(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--json"]) == 0
    check(verb, json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("full", [True, False])
def test_each_kind_of_record_is_as_its_schema_says(kind: str, full: bool) -> None:
    netns = Netns(NetnsCookie(7), "web\n")
    extra = {"proved": True, "evidence": {"looks": {"sender": 3}, "srtt_us": 40000}}
    made = (
        Record(kind, "w", "t", "a.b", netns, (1,), (2,), "c1", "undo", extra)
        if full
        else Record(kind, "w", extra={"proved": False})
    )
    check("record", json.loads(as_json(made, 1e9)))


@pytest.mark.parametrize(
    "wrong",
    [
        record("made_up"),
        record("change", time="yesterday"),
        record("change", new=["8 MiB"]),
        record("change", netns="host"),
        record("kept"),
        {key: value for key, value in CHANGE.items() if key != "why"},
    ],
)
def test_what_is_no_record_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check("record", wrong)


def test_the_schemas_have_what_the_interface_has(daemon: Served) -> None:
    """A field that is missing anywhere inside is found, not only at the top."""
    status: Any = json.loads(json.dumps(daemon.answers["Status"]))["parameters"]
    holes: list[Callable[[Any], object]] = [
        lambda it: it["cost"].pop("cpu_s"),
        lambda it: it["tuners"][0].pop("state"),
        lambda it: it["tuners"][0].update(state="odd"),
        lambda it: it["in_force"][0]["netns"].pop("cookie"),
        lambda it: it["in_force"][0].update(more=1),
        lambda it: it["yielded"][0]["found"].append("x"),
    ]
    for make in holes:
        broken = json.loads(json.dumps({"schema": 1, **status}))
        check("status", broken)
        make(broken)
        with pytest.raises(ValidationError):
            check("status", broken)

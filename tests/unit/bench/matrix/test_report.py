from __future__ import annotations

import json
from pathlib import Path

import bench.matrix
from bench.matrix.report import by_case
from jsonschema import Draft202012Validator
from tests.unit.bench.matrix.matrices import finished, matrix

SCHEMA = json.loads((Path(bench.matrix.__file__).parent / "schema.json").read_text())


def test_the_matrix_is_as_its_schema_has_it() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    told = json.loads(json.dumps(matrix()))
    validator.validate(told)
    told["failed"] = [{"case": "lan", "tuner": "none", "repeat": 1, "failed": "no tun"}]
    validator.validate(told)
    del told["about"]["kernel"]
    assert not validator.is_valid(told)


def test_the_schema_names_all_that_is_told() -> None:
    told = matrix()
    known = SCHEMA["properties"]
    assert set(told) == set(known)
    assert set(told["about"]) == set(known["about"]["properties"])
    case = told["cases"][0]
    assert set(case) == set(known["cases"]["items"]["properties"])
    assert set(case["results"]["bpftune"]) == set(
        SCHEMA["$defs"]["result"]["properties"]
    )
    assert set(told["overall"]["bpftune"]) == set(
        SCHEMA["$defs"]["overall"]["properties"]
    )


def test_every_number_has_its_description() -> None:
    for part in ("result", "overall", "spread"):
        for name, one in SCHEMA["$defs"][part]["properties"].items():
            assert "description" in one, f"{part}: {name}"


def test_runs_that_failed_are_no_results() -> None:
    done = finished()
    failed = {**done[0], "failed": "no BTF"}
    del failed["result"]
    found = by_case([failed, *done[1:]])
    count = sum(len(runs) for of in found.values() for runs in of.values())
    assert count == len(done) - 1

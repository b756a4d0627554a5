"""The schemas that bpftune publishes, and whether an answer is as they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import bpftune

DIRECTORY = Path(bpftune.__file__).parent / "schemas"
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.json"))


def read(name: str) -> Any:
    return json.loads((DIRECTORY / f"{name}.json").read_text())


def strict(schema: Any) -> Any:
    """Return *schema* such that what it does not name is an error.

    For the world it is none: more fields may come. A record's may anyway.
    """
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(schema[key]) for key in schema}
    if schema.get("type") == "object" and "evidence" not in schema.get(
        "properties", ()
    ):
        made.setdefault("additionalProperties", "properties" not in schema)
    return made


REGISTRY: Registry[Any] = Registry().with_resources(
    (f"{name}.json", Resource.from_contents(strict(read(name)))) for name in NAMES
)


def check(name: str, answer: object) -> None:
    """Raise ValidationError unless *answer* is as the schema *name* has it."""
    validator = Draft202012Validator(strict(read(name)), registry=REGISTRY)
    validator.validate(answer)

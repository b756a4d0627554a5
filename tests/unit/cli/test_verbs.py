from __future__ import annotations

from importlib import import_module
from inspect import signature

import pytest

from bpftune.cli import VERBS, main, verbs
from bpftune.cli.errors import ExitCode
from bpftune.cli.verbs import FUNCTIONS, ask, parser

NEEDED = {"explain": ["c1"], "apply": ["a"], "ignore": ["a"], "adopt": ["x"]}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Record with what a verb's function is called."""
    calls: list[dict[str, object]] = []

    class Module:
        def __getattr__(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN204
            def call(**options: object) -> int:
                calls.append({"verb": name, **options})
                return 0

            return call

    monkeypatch.setattr(verbs, "import_module", lambda _: Module())
    return calls


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("status", {"verb": "status", "json": False}),
        ("--json status", {"verb": "status", "json": True}),
        (
            "history --since 2h --tunable tcp_wmem --netns web --limit 3",
            {
                "verb": "history",
                "since": "2h",
                "tunable": "net.ipv4.tcp_wmem",
                "netns": "web",
                "limit": 3,
                "json": False,
            },
        ),
        ("explain c17", {"verb": "explain", "about": "c17", "json": False}),
        ("advise --all", {"verb": "advise", "ignored": True, "json": False}),
        ("apply a3f9c1", {"verb": "apply", "id": "a3f9c1", "json": False}),
        (
            "rollback c17 --dry-run",
            {
                "verb": "rollback",
                "change": "c17",
                "tunable": None,
                "netns": None,
                "everything": False,
                "dry_run": True,
                "json": False,
            },
        ),
        ("pause", {"verb": "pause", "what": None, "json": False}),
        ("resume web --json", {"verb": "resume", "what": "web", "json": True}),
        (
            "adopt tcp_wmem --netns web",
            {
                "verb": "adopt",
                "tunable": "net.ipv4.tcp_wmem",
                "netns": "web",
                "json": False,
            },
        ),
        (
            "persist --file x",
            {"verb": "persist", "dry_run": False, "file": "x", "json": False},
        ),
    ],
)
def test_words_reach_their_verb(
    called: list[dict[str, object]], words: str, given: dict[str, object]
) -> None:
    assert main(words.split()) == 0
    assert called == [given]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("status now", "unrecognized arguments: now. See bpftune --help."),
        ("explain", "are required: CHANGE|TUNABLE|PREFIX. See bpftune explain --help."),
        ("history --limit x", "argument --limit: invalid count value: 'x'"),
        ("history --limit 0", "argument --limit: invalid count value: '0'"),
        ("history --sinc 2h", "unrecognized arguments: --sinc 2h"),
        ("stat", "stat is no verb. Did you mean status?"),
    ],
)
def test_a_wrong_word_is_named_with_a_way_out(
    called: list[dict[str, object]],
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    assert main(words.split()) == ExitCode.USAGE
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1
    assert not output.out
    assert not called


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_each_verb_has_help_that_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([verb, "--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"usage: bpftune {verb} ")
    assert "--json" in output
    assert max(map(len, output.splitlines())) <= 80
    assert main(["help", verb]) == 0
    assert capsys.readouterr().out == output


def test_each_verb_is_known_to_the_command_and_has_a_function() -> None:
    assert set(FUNCTIONS) == {name for name, verb in VERBS.items() if not verb.function}
    for name, function in FUNCTIONS.items():
        given = vars(parser().parse_args([name, *NEEDED.get(name, [])]))
        assert given["function"] == function


def test_each_verbs_function_takes_what_its_options_give() -> None:
    for name, function in FUNCTIONS.items():
        module, _, called = function.partition(":")
        takes = signature(getattr(import_module(module), called))
        given = vars(parser().parse_args([name, *NEEDED.get(name, [])]))
        del given["verb"], given["function"]
        takes.bind(**given)


def test_help_is_no_error() -> None:
    assert ask(["status", "--help"]) == 0

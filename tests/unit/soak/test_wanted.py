from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.soak.wanted import Wanted

RED, BLUE = "red", "blue"
WMEM, RMEM = "wmem", "rmem"
FOUND = {WMEM: "1", RMEM: "2"}


def wanted() -> Wanted:
    made = Wanted()
    made.found(RED, FOUND)
    return made


def values(wmem: str = "1", rmem: str = "2") -> dict[tuple[str, str], str]:
    return {(RED, WMEM): wmem, (RED, RMEM): rmem}


def test_the_original_is_what_was_found() -> None:
    assert wanted().wrong(values()) == []
    assert wanted().wrong(values(wmem="9")) == ["wmem in red is '9' instead of '1'"]
    assert wanted().wrong({}) == [
        "rmem in red is 'missing' instead of '2'",
        "wmem in red is 'missing' instead of '1'",
    ]


def test_what_is_nobodys_may_be_changed() -> None:
    assert wanted().wrong(values("9", "9"), only_held=True) == []


def test_what_the_admin_set_is_the_original_from_then_on() -> None:
    made = wanted()
    made.admin_set(RED, WMEM, "5")
    assert made.wrong(values()) == ["wmem in red is '1' instead of '5'"]
    assert made.wrong(values(), only_held=True) == []
    assert made.yielded(RED, WMEM) is None
    assert made.wrong(values(), only_held=True)
    assert made.wrong(values(wmem="5"), only_held=True) == []


def test_what_nobody_set_cannot_be_handed_over() -> None:
    made = wanted()
    assert made.yielded(RED, WMEM) == "nobody set wmem in red, but it was handed over"
    assert made.yielded(BLUE, WMEM) is None  # not one that is known


def test_what_is_given_back_may_be_changed_again() -> None:
    made = wanted()
    made.admin_set(RED, WMEM, "5")
    made.yielded(RED, WMEM)
    made.given_back(RED, WMEM)
    assert not made.is_held(RED, WMEM)
    assert made.wrong(values(wmem="9"), only_held=True) == []
    assert made.wrong(values(wmem="9"))
    assert made.yielded(RED, WMEM)  # nobody set it since


def test_what_was_rolled_back_is_held() -> None:
    made = wanted()
    made.rolled_back(RED, WMEM)
    made.rolled_back(BLUE, WMEM)
    assert made.held() == {(RED, WMEM)}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "yield", "give"]),
            st.sampled_from([RED, BLUE]),
            st.sampled_from([WMEM, RMEM]),
        )
    )
)
def test_of_what_ended_nothing_is_left(steps: list[tuple[str, str, str]]) -> None:
    made, alone = wanted(), wanted()
    made.found(BLUE, FOUND)
    for what, netns, name in steps:
        for one in (made, alone) if netns == RED else (made,):
            match what:
                case "set":
                    one.admin_set(netns, name, "7")
                case "yield":
                    one.yielded(netns, name)
                case _:
                    one.given_back(netns, name)
    made.ended(BLUE)
    assert made.held() == alone.held()
    assert made.places() == alone.places()
    assert made.wrong({}) == alone.wrong({})

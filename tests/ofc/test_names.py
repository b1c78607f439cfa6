"""A word on the command line means one thing, or the person is asked which."""

from __future__ import annotations

import pytest

from ofcd.ofc.errors import Ambiguous, NotKnown
from ofcd.ofc.names import Candidate, find

ANA = Candidate("aa11" + "0" * 60, "Ana")
BO = Candidate("bb22" + "0" * 60, "Bo")
OTHER_BO = Candidate("bb33" + "0" * 60, "Bo")
NAMELESS = Candidate("cc44" + "0" * 60, "")
ALL = [ANA, BO, OTHER_BO, NAMELESS]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("Ana", ANA),
        ("ana", ANA),
        ("aa", ANA),
        ("AA11", ANA),
        ("bb2", BO),
        (OTHER_BO.hex_id, OTHER_BO),
        ("c", NAMELESS),
    ],
)
def test_a_name_or_the_beginning_of_an_id(word: str, meant: Candidate) -> None:
    """Case does not matter where that leaves one."""
    assert find("member", word, ALL) == meant


def test_an_exact_name_comes_before_one_of_another_case() -> None:
    """`ana` beside `Ana` is not ambiguous."""
    small = Candidate("dd" * 32, "ana")
    assert find("member", "ana", [ANA, small]) == small


@pytest.mark.parametrize("word", ["Bo", "bb"])
def test_several_are_listed(word: str) -> None:
    """With enough of each id to choose."""
    with pytest.raises(Ambiguous, match=r"Bo \(bb220000\), Bo \(bb330000\)"):
        find("member", word, ALL)


def test_a_name_that_looks_like_an_id_steals_nothing() -> None:
    """A full id wins over a name, and a name against an id's beginning is ambiguous."""
    thief = Candidate("ee" * 32, "bb22")
    with pytest.raises(Ambiguous):
        find("member", "bb22", [BO, thief])
    impostor = Candidate("ff" * 32, BO.hex_id)
    assert find("member", BO.hex_id, [impostor, BO]) == BO


@pytest.mark.parametrize("word", ["Zoe", "", "g"])
def test_an_unknown_word_lists_what_there_is(word: str) -> None:
    """And an empty word means nothing, not everything."""
    with pytest.raises(NotKnown, match=r"Ana \(aa110000\).*unnamed \(cc440000\)"):
        find("member", word, ALL)


def test_where_there_is_nothing_it_says_so() -> None:
    """No empty list."""
    with pytest.raises(NotKnown, match="none at all"):
        find("room", "Club", [])


def test_a_long_list_is_cut() -> None:
    """Ten, and how many more."""
    many = [Candidate(f"{n:064x}", f"m{n}") for n in range(25)]
    with pytest.raises(NotKnown, match="and 15 more"):
        find("member", "Zoe", many)

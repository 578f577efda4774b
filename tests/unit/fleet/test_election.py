"""Who keeps the fleet: every asker decides for itself, so the rules must agree."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet.election import Candidate, elect


def candidate(rank: int, *, term: int = 0, keeping: bool = False, standing: bool = True, **more):  # type: ignore[no-untyped-def]
    return Candidate(rank=(rank, str(rank)), term=term, keeping=keeping, standing=standing, **more)


def test_the_keeper_keeps_and_nobody_else_does() -> None:
    keeper, standby = candidate(1, term=3, keeping=True), candidate(2)
    assert elect(keeper, [standby]) == keeper
    assert elect(standby, [keeper]) == replace(standby, term=3)


def test_the_first_who_stands_by_takes_over_and_begins_a_term() -> None:
    gone = candidate(1, term=3, keeping=True, alive=False)
    first, second = candidate(2, term=3), candidate(3, term=3)
    assert elect(first, [gone, second]) == replace(first, term=4, keeping=True)
    assert elect(second, [gone, first]) == second


def test_one_that_does_not_stand_by_takes_nothing_over() -> None:
    guest, standby = candidate(1, standing=False), candidate(2)
    assert not elect(guest, []).keeping
    assert elect(standby, [guest]).keeping


def test_one_that_was_away_gives_way_to_whoever_took_over() -> None:
    stale, new = candidate(1, term=3, keeping=True), candidate(2, term=4, keeping=True)
    assert not elect(stale, [new]).keeping
    assert elect(new, [stale]) == new


askers = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(askers)
def test_those_who_hear_each_other_soon_have_one_keeper(
    drawn: list[tuple[int, bool, bool, bool]],
) -> None:
    everybody = [
        candidate(rank, term=term, keeping=keeping, standing=standing or keeping, alive=alive)
        for rank, (term, keeping, standing, alive) in enumerate(drawn)
    ]
    living = [asker for asker in everybody if asker.alive]
    # One after the other decides, twice round: each has then heard what the others decided.
    for turn in range(2 * len(living)):
        me = turn % len(living)
        others = [asker for number, asker in enumerate(living) if number != me]
        living[me] = elect(living[me], others)
    keepers = [asker for asker in living if asker.keeping]
    assert len(keepers) == (1 if any(asker.standing for asker in living) else 0)
    settled = [elect(a, [b for b in living if b is not a]) for a in living]
    assert [asker.keeping for asker in settled] == [asker.keeping for asker in living]

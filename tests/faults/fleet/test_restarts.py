"""Members that die by themselves: started again, with a bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sextant.fleet import BarrierError, Deadline, Fleet, MemberSpec, MemberState


def test_one_that_dies_while_warming_is_started_until_it_lives_or_is_given_up(
    fleet: Fleet, tmp_path: Path, until: Callable[[Callable[[], bool], float], bool]
) -> None:
    def spec(name: str, deaths: int) -> MemberSpec:
        arguments = {"notes": str(tmp_path / name), "deaths": deaths}
        factory = "fleet_members:Mortal"
        return MemberSpec(name=f"mortal/{name}", factory=factory, arguments=arguments)

    gang = fleet.gang("mortal", [spec("once", 1), spec("ever", 99)])
    with pytest.raises(BarrierError, match=r"mortal/ever \(lost: given up after 3 failures") as err:
        gang.ready(40)
    assert [missing.member for missing in err.value.missing] == ["mortal/ever"]
    assert until(lambda: gang.states()["mortal/once"] is MemberState.UP, 20)
    gather = gang.ask(b"x", Deadline.after(5))
    assert gather.answers["mortal/once"].body == b"x"
    gang.close()

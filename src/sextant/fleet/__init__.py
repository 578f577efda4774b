"""The fleet: Ray places, restarts and accounts; Zenoh carries.

`Fleet.start()` joins a Ray cluster or starts a local one; `Fleet.gang` runs members in processes
of their own; `Gang.ask` asks them all and returns, by the deadline at the latest, with what came
and why the rest is missing. A `Drill` puts faults into a gang under load.
"""

from sextant.fleet.answers import Answer, BarrierError, Gather, Missing
from sextant.fleet.deadline import Deadline
from sextant.fleet.drill import Drill
from sextant.fleet.fault import Fault, FaultKind
from sextant.fleet.fleet import Fleet
from sextant.fleet.gang import Gang
from sextant.fleet.health import HealthPolicy, MemberState
from sextant.fleet.inject import Landing
from sextant.fleet.ledger import Ledger
from sextant.fleet.member import Member, MemberSpec
from sextant.fleet.roster import Change
from sextant.fleet.shot import Recovery, Shot

__all__ = [
    "Answer",
    "BarrierError",
    "Change",
    "Deadline",
    "Drill",
    "Fault",
    "FaultKind",
    "Fleet",
    "Gang",
    "Gather",
    "HealthPolicy",
    "Landing",
    "Ledger",
    "Member",
    "MemberSpec",
    "MemberState",
    "Missing",
    "Recovery",
    "Shot",
]

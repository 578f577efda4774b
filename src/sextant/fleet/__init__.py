"""The fleet: Ray places over machines and accounts; Zenoh carries; the fleet keeps itself.

`Fleet.start()` takes this machine, or a Ray cluster; `Fleet.gang` runs members in processes of
their own, each so many times over; `Gang.ask` asks one replica of each and returns, by the deadline
at the latest, with what came and why the rest is missing. `Fleet.attach` is for another process: it
asks the same gangs, and takes the fleet over if its keeper dies. A `Drill` puts faults into a gang
under load.
"""

from sextant.fleet.answers import Answer, BarrierError, Gather, Missing
from sextant.fleet.card import Card
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
from sextant.fleet.scatter import Tally
from sextant.fleet.shot import Recovery, Shot

__all__ = [
    "Answer",
    "BarrierError",
    "Card",
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
    "Tally",
]

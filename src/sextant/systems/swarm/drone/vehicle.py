"""The seam between a mind and a body: readings in, velocity setpoints out.

What an adapter must do to fly the same mind on something real:

- MAVLink (PX4, ArduPilot): `sense` fills `Readings` from LOCAL_POSITION_NED (position, velocity),
  OBSTACLE_DISTANCE or a laser driver (ranges), the camera's driver (patch) and BATTERY_STATUS;
  `fly` sends SET_POSITION_TARGET_LOCAL_NED in offboard mode with only the velocity unmasked, at
  least twice a second, or PX4 leaves offboard mode by itself (its own safe stop); `land` sends
  MAV_CMD_NAV_LAND.
- ROS 2: `sense` waits on nav_msgs/Odometry, sensor_msgs/LaserScan and sensor_msgs/Image; `fly`
  publishes geometry_msgs/TwistStamped; `land` calls the driver's service.

x is east and y is north; MAVLink's north-east-down wants them swapped.
"""

from __future__ import annotations

from typing import Protocol

from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.sensors import Readings


class Vehicle(Protocol):
    """One drone's body."""

    def sense(self, within_s: float) -> tuple[Readings, float] | None:
        """The newest readings that were not had before, and the wall time (seconds since the
        epoch) at which they were made; None if none come in time.
        """
        ...

    def fly(self, setpoint_2: Floats, made_from_s: float) -> None:
        """Hold a velocity from now on; `made_from_s` is `at_s` of the readings behind it. A
        vehicle that hears nothing new for two periods stops by itself.
        """
        ...

    def land(self) -> None:
        """Come down here."""
        ...

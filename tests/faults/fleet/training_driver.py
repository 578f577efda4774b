"""Trains a job over the hosts of a Ray cluster, with those that are left when one is gone.

`python training_driver.py ADDRESS OUT/job.json HOSTS`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sextant.fleet import Fleet
from sextant.systems.pretraining.elastic import Elastic
from sextant.systems.pretraining.job import Job
from sextant.systems.pretraining.on_fleet import HEALTH, launch_on


def main() -> None:
    address, job, hosts = sys.argv[1:]
    with Fleet.start(address, policy=HEALTH) as fleet:
        until_s = time.monotonic() + 60
        while len(fleet.nodes) < int(hosts) and time.monotonic() < until_s:
            time.sleep(0.05)
        elastic = Elastic(probation_s=5.0)
        launch_on(fleet, Job.read(Path(job)), tick=lambda: None, elastic=elastic)


if __name__ == "__main__":
    main()

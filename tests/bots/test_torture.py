"""A small torture; `make bench-bots` runs the large one."""

from pathlib import Path

import pytest

from tests.bots.torture import Scale, a_torture
from tests.lab.mongo import Mongod

SMALL = Scale(
    notices=12,
    workers=2,
    refused=2,
    faults=0.12,
    disturbances=4,
    disturb_every_s=2,
    deadline_s=300,
    seed=5,
)


@pytest.mark.timeout(400)
def test_whatever_goes_wrong_each_notice_arrives_once(
    mongod: Mongod, database_name: str, tmp_path: Path
) -> None:
    with a_torture(SMALL, mongod, database_name, tmp_path) as torture:
        torture.run()
        report = torture.report()
        assert torture.disagreements() == []
    assert (report["x_posts"], report["x_lost"], report["x_doubled"]) == (SMALL.notices, 0, 0)
    assert (report["mail_lost"], report["mail_doubled"], report["refused_but_sent"]) == (0, 0, 0)
    assert report["killed"] > 0
    assert report["stopped"] > 0

"""A small torture; `make bench-bots` runs the large one."""

from pathlib import Path

import pytest

from tests.bots.torture import Scale, a_torture
from tests.lab.mongo import Mongod, running_mongod

SMALL = Scale(
    notices=12,
    workers=2,
    refused=2,
    faults=0.12,
    disturbances=4,
    disturb_every_s=2,
    deadline_s=800,
    seed=5,
)


DRILL = Scale(
    notices=4,
    workers=2,
    refused=0,
    faults=0.03,
    disturbances=4,
    disturb_every_s=1.5,
    deadline_s=800,
    seed=7,
    everything=True,
)


@pytest.mark.timeout(900)
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


@pytest.mark.timeout(900)
def test_whoever_is_killed_in_whatever_order_each_notice_arrives_once(tmp_path: Path) -> None:
    """MongoDB, graph and the workers, in the middle of everything."""
    with (
        running_mongod(tmp_path / "mongod") as mongod,
        a_torture(DRILL, mongod, "drill", tmp_path) as torture,
    ):
        torture.run()
        report = torture.report()
        assert torture.disagreements() == []
    assert (report["x_posts"], report["x_doubled"]) == (DRILL.notices, 0)
    assert (report["mail_lost"], report["mail_doubled"]) == (0, 0)
    assert report["restarted"] > 1

"""A small torture; `make bench-bots` runs the large one."""

from pathlib import Path

import pytest

from tests.bots.torture import Scale, a_torture
from tests.lab.mongo import running_mongod

SMALL = Scale(
    notices=10,
    workers=2,
    refused=2,
    faults=0.12,
    disturbances=6,
    disturb_every_s=1.5,
    deadline_s=800,
    seed=5,
    everything=True,
)


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_whatever_goes_wrong_and_whoever_is_killed_each_notice_arrives_once(
    tmp_path: Path,
) -> None:
    """MongoDB, graph and the workers of both channels, in the middle of everything."""
    with (
        running_mongod(tmp_path / "mongod") as mongod,
        a_torture(SMALL, mongod, "torture", tmp_path) as torture,
    ):
        torture.run()
        report = torture.report()
        assert torture.disagreements() == []
    assert (report["x_posts"], report["x_lost"], report["x_doubled"]) == (SMALL.notices, 0, 0)
    assert (report["mail_lost"], report["mail_doubled"], report["refused_but_sent"]) == (0, 0, 0)
    for disturbed in ("killed", "stopped", "restarted"):
        assert report[disturbed] > 0, report

"""kill -9 at 200 random points of a run."""

from pathlib import Path

from tests.probe.test_killed import killed


def bench_two_hundred_killed_runs(tmp_path: Path) -> None:
    print(killed(200, tmp_path, seed=200))

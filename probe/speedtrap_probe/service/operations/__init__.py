"""The GraphQL operations that the probe sends, one file each."""

from importlib.resources import files


def _read(name: str) -> str:
    return files(__name__).joinpath(f"{name}.graphql").read_text(encoding="utf-8")


SUBMIT_RUNS = _read("submit_runs")
HEARTBEAT = _read("heartbeat")
PLAN = _read("plan")

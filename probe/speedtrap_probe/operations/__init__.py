"""The GraphQL operations that the probe sends, one file each."""

from importlib.resources import files

SUBMIT_RUNS = files(__name__).joinpath("submit_runs.graphql").read_text(encoding="utf-8")

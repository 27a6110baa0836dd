"""Tables too long for `make test`: it takes a few rows, and `make drill` all the others."""

from collections.abc import Collection, Iterable
from typing import TypeVar

import pytest

Row = TypeVar("Row")


def mostly_drilled(rows: Iterable[Row], short: Collection[Row]) -> list[object]:
    """For `parametrize`: all *rows*, marked as a drill but for *short*, which are among them."""
    table = list(rows)
    if missing := [row for row in short if row not in table]:
        raise LookupError(f"not in the table: {missing}")
    return [row if row in short else pytest.param(row, marks=pytest.mark.drill) for row in table]

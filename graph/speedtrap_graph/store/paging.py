"""Keyset pages: the next page costs the same however far back it lies, and nothing shifts."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from speedtrap_graph.store.database import Row, Store

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class CursorError(ValueError):
    """Not a cursor that a page of this kind has given out."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first, with a cursor each."""

    rows: list[Row]
    cursors: list[str]
    has_next: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Newest first by `moment`; ties (BSON keeps milliseconds) are broken by `_id`."""

    collection: str
    moment: str
    read_id: Callable[[str], Any] = str
    left_out: tuple[str, ...] = ()


async def newest_first(
    store: Store, order: Order, wanted: Row, first: int, after: str | None
) -> Page:
    clauses = [wanted] if after is None else [wanted, _behind(order, after)]
    found = (
        store[order.collection]
        .find({"$and": clauses}, dict.fromkeys(order.left_out, 0) or None)
        .sort([(order.moment, -1), ("_id", -1)])
        .limit(first + 1)
    )
    rows = await found.to_list()
    page = rows[:first]
    return Page(page, [_cursor(row, order) for row in page], has_next=len(rows) > first)


def _cursor(row: Row, order: Order) -> str:
    moment: datetime = row[order.moment]
    text = f"{(moment - _EPOCH) // _MILLISECOND}:{row['_id']}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _behind(order: Order, cursor: str) -> Row:
    try:
        text = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
        milliseconds, _, row_id = text.partition(":")
        moment = _EPOCH + int(milliseconds) * _MILLISECOND
        key = order.read_id(row_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise CursorError("this cursor was not given out by this connection") from error
    # The bound outside of $or keeps the index scan behind the cursor and in order.
    return {
        order.moment: {"$lte": moment},
        "$or": [{order.moment: {"$lt": moment}}, {"_id": {"$lt": key}}],
    }

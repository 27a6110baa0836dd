"""What may be read, and by whom."""

import strawberry

from speedtrap_graph.api.queries.line import LineQueries
from speedtrap_graph.api.queries.notices import NoticeQueries
from speedtrap_graph.api.queries.runs import RunQueries
from speedtrap_graph.api.queries.service import ServiceQueries


@strawberry.type
class Query(ServiceQueries, NoticeQueries, RunQueries, LineQueries):
    """All of them."""

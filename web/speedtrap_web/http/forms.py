"""Reads a posted form: small, urlencoded, nothing else."""

from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

LARGEST_FORM_BYTES = 64 * 1024
MOST_FIELDS = 20


async def read_form(request: Request) -> dict[str, str]:
    """The fields without the blanks around them; the last of a name counts."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_FORM_BYTES:
            raise HTTPException(413)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:  # not UTF-8, or too many fields
        raise HTTPException(400) from None
    return {name: value.strip() for name, value in pairs}


def read_number(text: str) -> float | None:
    """A finite number above 0, its decimals behind a point or a comma; else None."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None

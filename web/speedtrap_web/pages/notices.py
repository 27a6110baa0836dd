"""One notice as it would be sent, and the decision about it. For admins: it names a recipient."""

import base64
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from speedtrap_web import site as web
from speedtrap_web.graphql.answers import Attachment, Notice
from speedtrap_web.graphql.client import RefusedError
from speedtrap_web.http.forms import read_form
from speedtrap_web.http.security import LETTER_POLICY
from speedtrap_web.http.session import Session
from speedtrap_web.pages.login import seen_other, to_login
from speedtrap_web.views import reasons
from speedtrap_web.views.breaches import channel_name, covered_line, notice_line, obstacle
from speedtrap_web.views.words import Words, zone_of

# X's web intent: a person sees the text in X's own page, and posts it there or does not.
X_INTENT = "https://x.com/intent/post"
PICTURES = frozenset({"image/png", "image/jpeg"})
LONGEST_REASON = 500
_CID = re.compile(r"""cid:([^"'\s>]+)""")


@dataclass(frozen=True, slots=True)
class AttachmentLine:
    name: str
    size: str
    sha256: str
    alt: str
    href: str
    is_picture: bool


async def notice_page(request: Request) -> Response:
    session = web.of(request).session(request)
    if session is None:
        return to_login(request, "needed")
    return _page(request, await _notice(request, session))


async def _notice(request: Request, session: Session) -> Notice:
    """The notice, read with the admin's own key; 404 when there is none."""
    data = await web.of(request).graph.ask("notice", {"id": request.path_params["id"]}, session.key)
    if data["notice"] is None:
        raise HTTPException(404)
    return Notice.model_validate(data["notice"])


def _page(
    request: Request, notice: Notice, problem: str = "", reason: str = "", status: int = 200
) -> Response:
    site = web.of(request)
    words = site.words(request, zone_of(notice.breach.plan))
    steps = [
        words.text(
            "notice.step",
            when=words.when(step.at),
            by=step.by,
            status=words.text(f"notice.status.{step.status}", when="").strip(),
        )
        + (f" ({reasons.reason(step.why, words.catalogue)})" if step.why else "")
        for step in notice.steps
    ]
    context = {
        "notice": notice,
        "channel": channel_name(notice.channel, words),
        "line": notice_line(notice, words),
        "obstacle": obstacle(notice.obstacle, words),
        "advice": _advice(notice, words),
        "covered": [covered_line(breach, words) for breach in notice.covers],
        "planned": words.when(notice.planned_at),
        "steps": steps,
        "intent": by_hand(notice.channel, notice.text, site.provider_handle),
        "attachments": [_line(notice, i, words) for i in range(len(notice.attachments))],
        "problem": problem,
        "reason": reason,
        "zone": words.catalogue.zone_name(words.zone),
    }
    return site.page(request, "notice.html", context, status)


def _advice(notice: Notice, words: Words) -> str:
    """What a person can do about a notice that is known not to be right."""
    channel = "twitter" if notice.channel == "twitter" else "mail"
    return words.text(
        f"notice.contradicted.{channel}",
        recipient=notice.recipient or words.text("notice.to.nobody"),
        reference=notice.breach.reference,
    )


def by_hand(channel: str, text: str, handle: str) -> str | None:
    """Where a person may post it with a mention; X lets no automated account do so uninvited."""
    if channel != "twitter":
        return None
    mention = f"@{handle.removeprefix('@')} " if handle else ""
    return f"{X_INTENT}?{urlencode({'text': mention + text})}"


def _line(notice: Notice, index: int, words: Words) -> AttachmentLine:
    attachment = notice.attachments[index]
    return AttachmentLine(
        name=attachment.name,
        size=words.text(
            "notice.size", size=words.catalogue.number(attachment.size_bytes / 1000, 1)
        ),
        sha256=attachment.sha256,
        alt=attachment.alt_text or attachment.name,
        href=f"/notices/{notice.id}/attachments/{index}",
        is_picture=attachment.media_type in PICTURES,
    )


async def letter(request: Request) -> Response:
    """The HTML part alone, for a sandboxed frame: no script, nothing from outside."""
    session = web.of(request).session(request)
    if session is None:
        return to_login(request, "needed")
    notice = await _notice(request, session)
    if notice.html is None:
        raise HTTPException(404)
    response = HTMLResponse(with_pictures(notice.html, notice.attachments))
    response.headers["Content-Security-Policy"] = LETTER_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def with_pictures(html: str, attachments: list[Attachment]) -> str:
    """*html* with `cid:` pictures put in place, as a mail program would."""
    data = {
        attachment.name: f"data:{attachment.media_type};base64,{attachment.content_base64}"
        for attachment in attachments
        if attachment.media_type in PICTURES
    }
    if not data:
        return html
    only = next(iter(data.values())) if len(data) == 1 else ""

    def picture(found: re.Match[str]) -> str:
        # Content-IDs are often "<name>@<host>" or made up; a single picture can only be that one.
        return data.get(found[1].split("@")[0], only)

    return _CID.sub(picture, html)


async def attachment(request: Request) -> Response:
    session = web.of(request).session(request)
    if session is None:
        return to_login(request, "needed")
    notice = await _notice(request, session)
    index = request.path_params["index"]
    if not 0 <= index < len(notice.attachments):
        raise HTTPException(404)
    found = notice.attachments[index]
    picture = found.media_type in PICTURES
    response = Response(
        base64.b64decode(found.content_base64),
        media_type=found.media_type if picture else "application/octet-stream",
    )
    if not picture:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", found.name)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def approve(request: Request) -> Response:
    """Approves exactly the content whose digest the page showed."""
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    variables = {"id": request.path_params["id"], "digest": form.get("digest", "")}
    try:
        await site.graph.ask("approveNotice", variables, session.key)
    except RefusedError as refusal:
        notice = await _notice(request, session)
        changed = notice.digest != variables["digest"]
        message = site.catalogue(request).text("notice.changed") if changed else refusal.message
        return _page(request, notice, message, status=409)
    return seen_other(f"/notices/{variables['id']}", "approved")


async def reject(request: Request) -> Response:
    site = web.of(request)
    session = site.session(request)
    if session is None:
        return to_login(request, "needed")
    form = await read_form(request)
    reason = form.get("reason", "")[:LONGEST_REASON]
    notice = await _notice(request, session)
    if not reason:
        problem = site.catalogue(request).text("notice.reason.missing")
        return _page(request, notice, problem, status=400)
    try:
        await site.graph.ask("rejectNotice", {"id": notice.id, "reason": reason}, session.key)
    except RefusedError as refusal:
        return _page(request, notice, refusal.message, reason, 409)
    return seen_other(f"/notices/{notice.id}", "rejected")


ROUTES = [
    Route("/notices/{id}", notice_page),
    Route("/notices/{id}/letter", letter),
    Route("/notices/{id}/attachments/{index:int}", attachment),
    Route("/notices/{id}/approve", approve, methods=["POST"]),
    Route("/notices/{id}/reject", reject, methods=["POST"]),
]

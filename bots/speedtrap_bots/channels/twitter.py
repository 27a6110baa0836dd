"""Posts on X by tweepy: text and chart, from the operator's own account.

tweepy has no timeout, follows redirects and has no media upload of v2; the session below
and one request by hand mend that. A post that may have been made is never made again.
"""

import html
import logging
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import aiohttp
import tweepy
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from tweepy.asynchronous import AsyncClient
from twitter_text import extract_urls, parse_tweet

from speedtrap_bots.channel import Channel, ChannelKind, MaySend
from speedtrap_bots.content import Content
from speedtrap_bots.delivery.quiet import QuietHours, parse_quiet_hours
from speedtrap_bots.errors import ChannelError, Refused, Unavailable, Unknown, said
from speedtrap_bots.letter import post
from speedtrap_bots.model import Attachment, Breach, Notice, Stage
from speedtrap_bots.settings import EnvironmentSettings

CONNECT_TIMEOUT_S = 8.0
REQUESTS_A_POST = 3
"""Image, its description, the post."""
MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_ALT_CHARACTERS = 1000
TIMELINE = "timeline"
POSTS_A_PAGE = 100
PAGES_AT_MOST = 10
"""A thousand posts since a notice was approved: nobody could say that one is not among more."""
CLOCKS_DIFFER_BY = timedelta(days=1)
"""However wrong ours is, the newest page is read in any case."""
_HOSTS = frozenset({"api.twitter.com", "api.x.com"})
_RESETS = (
    "x-rate-limit-reset", "x-user-limit-24hour-reset", "x-app-limit-24hour-reset",
)  # fmt: skip
_PICTURE_LINK = re.compile(r"(\s*https://t\.co/\w+)+\s*$")
_MENTION_OR_TAG = re.compile(r"[@\uff20#\uff03]\w|\$[A-Za-z]")

# At DEBUG these write the signed headers, and with them the tokens.
for _name in ("tweepy", "oauthlib", "requests_oauthlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class TwitterSettings(EnvironmentSettings):
    """`SPEEDTRAP_BOTS_TWITTER_<NAME>`. Posts are made when ENABLED and all four keys are set."""

    model_config = SettingsConfigDict(env_prefix="SPEEDTRAP_BOTS_TWITTER_")

    enabled: bool = Field(default=False, description="Posting is off until this is true.")
    consumer_key: SecretStr | None = Field(default=None, description="The app's API key.")
    consumer_secret: SecretStr | None = Field(default=None, description="The app's API secret.")
    access_token: SecretStr | None = Field(default=None, description="The account's token.")
    access_token_secret: SecretStr | None = Field(
        default=None, description="The account's token secret."
    )
    request_timeout_s: float = Field(
        default=15.0, gt=0, le=120, description="Wait for each of X's answers."
    )
    quiet_hours: str = Field(
        default="", description="No post in these, e.g. 22:00-08:00, by TIME_ZONE's clocks."
    )
    time_zone: str = Field(default="UTC", description="IANA name, e.g. America/Denver.")
    ca_file: Path | None = Field(
        default=None, description="For tests: PEM file of a certificate authority to trust."
    )
    address: str = Field(
        default="", description="For tests: 127.0.0.1:port that stands in for X; loopback only."
    )

    @field_validator("address")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        if value and not re.fullmatch(r"127\.0\.0\.1:[1-9][0-9]{0,4}", value):
            raise ValueError("must be 127.0.0.1:<port>")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("must be an IANA time zone, e.g. America/Denver") from error
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _are_hours(cls, value: str) -> str:
        parse_quiet_hours(value, "UTC")
        return value

    @property
    def quiet(self) -> QuietHours | None:
        return parse_quiet_hours(self.quiet_hours, self.time_zone)

    @property
    def is_complete(self) -> bool:
        keys = (
            self.consumer_key,
            self.consumer_secret,
            self.access_token,
            self.access_token_secret,
        )
        return self.enabled and all(keys)


class Twitter(Channel):
    """Posts to the account's own timeline."""

    name = "twitter"
    looks_up = True

    def __init__(self, settings: TwitterSettings) -> None:
        self._settings = settings

    @property
    def timeout_s(self) -> float:
        return REQUESTS_A_POST * self._settings.request_timeout_s + 2

    @property
    def recipient(self) -> str:
        return TIMELINE if self._settings.is_complete else ""

    def write(self, breach: Breach, stage: Stage, covered: Sequence[Breach] = ()) -> Content:
        del covered  # no digest is posted
        return post(breach, stage)

    def quiet_until(self, now: datetime) -> datetime | None:
        quiet = self._settings.quiet
        return quiet.until(now) if quiet else None

    async def test(self) -> str:
        """Asks X who we are: a test post would be seen by everybody."""
        async with self._session() as session:
            me = await _before_the_post(_who_am_i(self._client(session)))
        return f"X knows this account ({me}); nothing was posted"

    async def look_up(self, notice: Notice) -> str | None:
        """The id of the one among our own posts, since the notice was approved, that says this."""
        since = (notice.approved_at or notice.planned_at) - CLOCKS_DIFFER_BY
        wanted, page = _plain(notice.text), None
        async with self._session() as session:
            client = self._client(session)
            me = await _before_the_post(_who_am_i(client))
            for _ in range(PAGES_AT_MOST):
                answer = await _classified(
                    client.get_users_tweets(
                        me,
                        max_results=POSTS_A_PAGE,
                        tweet_fields=["created_at"],
                        pagination_token=page,
                        user_auth=True,
                    ),
                    ambiguous=Unavailable,
                )
                posts, page = _page_of(answer)
                for found in posts:
                    if _plain(str(found.get("text", ""))) == wanted:
                        return str(found["id"])
                if page is None or _oldest(posts) < since:
                    return None
        raise Unavailable(f"our newest {POSTS_A_PAGE * PAGES_AT_MOST} posts do not go back so far")

    async def deliver(self, notice: Notice, may_send: MaySend) -> str:
        """Uploads the chart, then posts; returns the post's id."""
        check_post(notice.text)
        async with self._session(may_send) as session:
            client = self._client(session)
            # An upload alone is seen by nobody, so all that goes wrong there can be tried again.
            media = [
                await _before_the_post(_upload(client, file))
                for file in notice.attachments
                if file.media_type.startswith("image/")
            ]
            return await _create(client, notice.text, media)

    def _session(self, may_send: MaySend | None = None) -> aiohttp.ClientSession:
        address = self._settings.address
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            force_close=True,  # a stale kept-alive connection fails in the middle of a post
            resolver=_StandIn(address) if address else None,
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirect)

        async def just_before_the_request(*_: object) -> None:
            if may_send is not None:
                may_send()

        # Earlier, between connecting and here, an error would leak the connection.
        trace.on_request_headers_sent.append(just_before_the_request)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=self._settings.request_timeout_s, connect=CONNECT_TIMEOUT_S
            ),
            trace_configs=[trace],
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca_file)

    def _client(self, session: aiohttp.ClientSession) -> AsyncClient:
        s = self._settings
        secrets = (s.consumer_key, s.consumer_secret, s.access_token, s.access_token_secret)
        key, secret, token, token_secret = (x.get_secret_value() if x else "" for x in secrets)
        client = AsyncClient(
            consumer_key=key,
            consumer_secret=secret,
            access_token=token,
            access_token_secret=token_secret,
            return_type=dict,
        )
        client.session = session
        return client


class _Redirected(aiohttp.ClientError):
    """X does not redirect; whoever does must not get the signed request."""


class _StandIn(AbstractResolver):
    """Answers for X's hosts with one loopback address, for no other host at all."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - the stand-in has its own port
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - and its own family
    ) -> list[ResolveResult]:
        if host not in _HOSTS:
            raise OSError(f"no stand-in for {host}")
        return [
            ResolveResult(
                hostname=host,
                host=self._host,
                port=self._port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        return


def check_post(text: str) -> None:
    """Refuses what X would turn away or what an automated account may not post."""
    parsed = parse_tweet(text)
    if not parsed.valid:
        raise Refused(
            f"the post has {parsed.weightedLength} weighted characters of 280, or bad ones"
        )
    if _MENTION_OR_TAG.search(text):
        raise Refused("the post would mention or tag somebody")
    if extract_urls(text):
        raise Refused("the post contains a link")


async def _refuse_redirect(
    _session: aiohttp.ClientSession,
    _context: SimpleNamespace,
    _params: aiohttp.TraceRequestRedirectParams,
) -> None:
    raise _Redirected("X answered with a redirect")


async def _upload(client: AsyncClient, file: Attachment) -> str:
    content = file.content
    if len(content) > MAX_IMAGE_BYTES:
        raise Refused(f"{file.name} has {len(content)} bytes; X takes {MAX_IMAGE_BYTES}")
    body = {
        "media": b64encode(content).decode(),
        "media_category": "tweet_image",
        "media_type": file.media_type,
    }
    answer = await client._make_request("POST", "/2/media/upload", json=body, user_auth=True)  # noqa: SLF001 - tweepy has no v2 upload
    media_id = _id_in(answer)
    if media_id is None:
        raise Unavailable("X took the image and gave no id")
    if file.alt_text:
        metadata = {
            "id": media_id,
            "metadata": {"alt_text": {"text": file.alt_text[:MAX_ALT_CHARACTERS]}},
        }
        await client._make_request("POST", "/2/media/metadata", json=metadata, user_auth=True)  # noqa: SLF001 - the same
    return media_id


async def _before_the_post(work: Coroutine[Any, Any, str]) -> str:
    return str(await _classified(work, ambiguous=Unavailable))


async def _who_am_i(client: AsyncClient) -> str:
    me = _id_in(await client.get_me(user_auth=True))
    if me is None:
        raise Unavailable("X does not say whose account this is")
    return me


def _plain(text: str) -> str:
    """A post as it was written: X escapes it, and adds a link for the picture."""
    return _PICTURE_LINK.sub("", html.unescape(text)).strip()


def _page_of(answer: Any) -> tuple[list[dict[str, Any]], str | None]:
    """The posts of one page, and the next page's token. No page at all is no empty page."""
    meta = answer.get("meta") if isinstance(answer, dict) else None
    posts = answer.get("data", []) if isinstance(answer, dict) else None
    if not isinstance(meta, dict) or not isinstance(posts, list):
        raise Unavailable("X's answer is no list of posts")
    if answer.get("errors") or meta.get("result_count", len(posts)) != len(posts):
        raise Unavailable("X's answer is not the whole list of posts")
    return posts, meta.get("next_token")


def _oldest(posts: list[dict[str, Any]]) -> datetime:
    """When the last of a page was made; it comes newest first."""
    try:
        return datetime.fromisoformat(posts[-1]["created_at"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise Unavailable("X's answer does not say when a post was made") from None


async def _create(client: AsyncClient, text: str, media: list[str]) -> str:
    answer = await _classified(
        client.create_tweet(text=text, media_ids=media or None, user_auth=True), ambiguous=Unknown
    )
    post_id = _id_in(answer)
    if post_id is None:
        # 200 with `errors` and no data happens.
        raise Unknown("X answered without the post's id")
    return post_id


async def _classified(
    work: Coroutine[Any, Any, Any], *, ambiguous: Callable[[str], ChannelError]
) -> Any:
    """Runs one request. *ambiguous* is what an end means that does not tell whether X acted.

    Errors are raised `from None`: tweepy's and aiohttp's hold the signed request headers.
    """
    try:
        return await work
    except aiohttp.ClientConnectorError as error:
        raise Unavailable(f"X cannot be reached ({type(error).__name__})") from None
    except aiohttp.ConnectionTimeoutError:
        raise Unavailable("no connection to X in time") from None
    except tweepy.HTTPException as error:
        raise _answered(error, ambiguous) from None
    except (
        aiohttp.ClientError,
        TimeoutError,
        tweepy.TweepyException,
        # tweepy meets a malformed error answer with these
        AttributeError,
        TypeError,
        ValueError,
    ) as error:
        raise ambiguous(f"no clear answer from X ({type(error).__name__})") from None


def _answered(
    error: tweepy.HTTPException, ambiguous: Callable[[str], ChannelError]
) -> ChannelError:
    status = int(error.response.status)
    why = said(" ".join(str(message) for message in error.api_messages))[:300]
    text = f"X said {status} {why}".strip()
    if status == 429:
        return Unavailable(text, retry_after_s=_until_reset_s(error.response.headers))
    # 402: it costs more than was paid; 404 and 410: X has taken this way away.
    if status in {401, 402, 404, 410} or _is_used_up(why):
        return Unavailable(text, stops_channel=True)
    if status == 403 and "duplicate" in why.lower():
        # Then it is there already: ours, from an attempt nobody heard the end of.
        return Unknown(text)
    return ambiguous(text) if status >= 500 else Refused(text)


def _is_used_up(why: str) -> bool:
    words = ("usage cap", "usagecap", "credits", "client-not-enrolled", "access level")
    return any(word in why.lower() for word in words)


def _until_reset_s(headers: Mapping[str, str]) -> float:
    """Seconds until the latest of X's limits is lifted; 15 minutes when it does not say."""
    resets = [float(headers[name]) for name in _RESETS if headers.get(name, "").isdigit()]
    return max(max(resets) - time.time() + 1, 1.0) if resets else 900.0


def _id_in(answer: Any) -> str | None:
    data = answer.get("data") if isinstance(answer, dict) else None
    found = data.get("id") if isinstance(data, dict) else None
    return str(found) if found else None


CHANNEL = ChannelKind("twitter", TwitterSettings, Twitter)

"""Foreign text before it becomes ours: what pages, CSV and letters repeat of it.

Out go addresses (IPv4, IPv6, MAC), user names, passwords and queries of URLs, tokens, home folders,
and characters that cannot be seen. Passing twice changes nothing. The service has the same gate;
`tests/probe/test_foreign_text.py` holds both to one table.
"""

import re
import traceback
import unicodedata
from functools import lru_cache
from ipaddress import ip_address

ADDRESS, REMOVED, HOME = "[address]", "[removed]", "~"
MOST_PASSES = 5
READ_LIMIT = 10_000  # characters looked at; a program may print a megabyte
SECRET_LETTERS = 24  # shorter runs of letters and digits are names more often than tokens
LONG_SECRET_LETTERS = 32
KNOWN_VERSION_FIRST = 10  # "1.2.0.84" is a version; addresses of homes begin higher more often

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
URL = re.compile(r"\b([a-z][a-z0-9+.-]{1,15}:/{2,3})([^\s\"'<>|`]*)", re.IGNORECASE)
# Bounded everywhere: what a program prints must not be able to keep a pattern busy.
# `user:password@host` without a scheme.
CREDENTIALS = re.compile(r"(?<![\w/@])[^\s/@:\"'<>()\[\]]{1,64}:[^\s/@\"'<>]{1,128}@(?=[\w\[])")
QUERY = re.compile(r"\?[^\s\"'<>=?]{0,100}=(?:[^\s\"'<>]*[^\s\"'<>:.,;)])?")
HEADER = re.compile(
    r"(?i)\b(?:((?:proxy-)?authorization|x-api-key)(\s?[:=]\s?)(?:(?:basic|bearer|digest)\s+)?\S+"
    r"|((?:set-)?cookie)(\s?[:=]\s?)[^\s;]+(?:;\s?[^\s;=]+=[^\s;]+)*)"
)
NAMED_SECRET = re.compile(
    r"""(?ix)
    (token|secret|password|passwd|passphrase|credentials?|(?:api|access|private)[_-]?key
     |(?<![a-z])(?:pwd|auth|sig|signature|session|sessionid|jwt|key)(?=["']?\s?=|["']\s?:))
    (["']?\s?[=:]\s?)
    (\[removed\]|"[^"]*"|'[^']*'|[^\s,;&"'<>)\]}]+)"""
)
SCHEME = re.compile(r"\b((?i:basic|bearer|digest))\s+(?=\S*[0-9A-Z=+/])[\w+/=.~-]{8,}")
JWT = re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+){1,2}")
OPAQUE = re.compile(rf"(?<![\w-])[A-Za-z0-9_-]{{{SECRET_LETTERS},}}(?![\w-])")
HEX = re.compile(r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]+|[0-9]+", re.IGNORECASE)
MAC = re.compile(
    r"(?i)(?<![0-9a-f:-])(?:[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4,6}[0-9a-f]{2}"
    r"|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4})(?![0-9a-f])"
)
IPV6 = re.compile(
    r"(?i)\[?(?<![0-9a-f:.])((?:[0-9a-f]{0,4}:){2,8}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{1,4})?)"
    r"(?![0-9a-z])(%[\w.-]+)?(\](?::\d{1,5})?)?"
)
IPV4 = re.compile(r"(?<!\d)(?<!\d\.)((?:\d{1,3}\.){3}\d{1,3})(?!\d)(?!\.\d)(?::\d{1,5}(?!\d))?")
# As providers write an address into a host's name: c-192-0-2-44.example.net
DASHED = re.compile(r"(?<!\d)(?<!\d-)((?:\d{1,3}-){3}\d{1,3})(?!\d)(?!-\d)")
HOMES = re.compile(
    r"""(?ix)
    (?:\\\\\?\\)?(?:\b[a-z]:)?(?:\\{1,2})(?:users|documents\ and\ settings)\\{1,2}
      (?:[^\\/:*?"<>|\r\n]{1,64}(?=\\)|[^\s\\/:*?"'<>|,;)]+)
    |(?:\b[a-z]:)?/(?:(?:var|export|usr)/)?(?:home|users)/[^\s/"'<>:,;)\]]+
    |(?<![\w.])/root(?=[/\s"':,;)]|$)"""
)
VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9})*")


@lru_cache(maxsize=1024)
def passed(text: str, limit: int) -> str:
    """On one line; of what is too long the end is kept, where programs say what went wrong."""
    cut = text[-READ_LIMIT:]
    if len(cut) < len(text):  # the first word may be the rest of an address
        cut = cut.partition(" ")[2] or cut
    line = _redacted(cut)
    return line if len(line) <= limit else "…" + line[1 - limit :]


def trace() -> str:
    """Of the exception that is being handled, for the log: instead of `exc_info`, for a traceback
    quotes addresses and paths like any other foreign text.
    """
    return "\n".join(passed(line, 500) for line in traceback.format_exc().splitlines())


@lru_cache(maxsize=1024)
def named(text: str, limit: int) -> str | None:
    """A name, bounded; None where nothing is left of it."""
    line = _redacted(text[:READ_LIMIT])
    if not line.replace(ADDRESS, "").replace(REMOVED, "").strip(" .:/-"):
        return None
    return line if len(line) <= limit else line[: limit - 1] + "…"


def version(text: str, limit: int) -> str | None:
    """A version of four numbers looks like an address: it stays where it is all that is said."""
    stripped = text.strip()
    if VERSION.fullmatch(stripped) and int(stripped.partition(".")[0]) < KNOWN_VERSION_FIRST:
        return stripped[:limit]
    return named(text, limit)


def link(url: str, limit: int) -> str | None:
    """A page's address without user, password and query; None where more would have to go."""
    if not url.lower().startswith(("http://", "https://")):
        return None
    bare = URL.sub(_bare_url, url.strip())
    return bare if len(bare) <= limit and passed(bare, limit) == bare else None


def seen(text: str, limit: int) -> str:
    """On one line, valid and visible; nothing is taken out."""
    line = _on_one_line(_visible(text[:READ_LIMIT]))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def secretless(text: str) -> str:
    """For the person at the keyboard, who needs addresses and paths, but no password on screen."""
    return _without_secrets(_visible(text[:READ_LIMIT]))


def valid(text: str) -> str:
    """With U+FFFD for each lone surrogate, which no encoding can say."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_address(text: str) -> bool:
    """An IP address and nothing else."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _visible(text: str) -> str:
    """Valid Unicode without what cannot be seen; ends of lines stay, they separate."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(char) for char in ESCAPES.sub("", valid(text)))


def _seen(char: str) -> str:
    if char.isprintable():
        return char
    if char in "\r\n":
        return "\n"
    if char.isspace():
        return " "
    # Directions and joiners (Cf), and controls (Cc): gone, so that they hide no address either.
    return "" if unicodedata.category(char) in {"Cc", "Cf"} else "\N{REPLACEMENT CHARACTER}"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _redacted(text: str) -> str:
    """On one line. What was taken out may have stood between two halves: looked at again."""
    line = _on_one_line(_visible(text))
    for _ in range(MOST_PASSES):
        before, line = line, _on_one_line(_once_redacted(line))
        if line == before:
            break
    return line


def _once_redacted(text: str) -> str:
    text = _without_secrets(text)
    text = MAC.sub(ADDRESS, text)
    text = IPV6.sub(_ipv6, text)
    text = IPV4.sub(_ipv4, text)
    text = DASHED.sub(_ipv4, text)
    return HOMES.sub(HOME, text)


def _without_secrets(text: str) -> str:
    text = URL.sub(_bare_url, text)
    text = QUERY.sub("", CREDENTIALS.sub("", text))
    text = HEADER.sub(lambda found: f"{found[1] or found[3]}{found[2] or found[4]}{REMOVED}", text)
    text = NAMED_SECRET.sub(rf"\1\2{REMOVED}", text)
    text = SCHEME.sub(rf"\1 {REMOVED}", text)
    return OPAQUE.sub(_opaque, JWT.sub(REMOVED, text))


def _bare_url(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    authority = rest.partition("/")[0]
    port = authority.rpartition(":")[2]
    # A slash in a password ends the authority too early: then what follows the colon is no port.
    slashed = ":" in authority and "]" not in port and not port.isdigit() and "@" in rest
    if "@" in authority or slashed:
        rest = (rest if slashed else authority).rpartition("@")[2] + (
            "" if slashed else rest[len(authority) :]
        )
    return scheme + re.split(r"[?#]", rest, maxsplit=1)[0]


def _opaque(match: re.Match[str]) -> str:
    """Letters and digits as no word has them: mixed in case with digits, or with many capitals."""
    run = match[0]
    letters = run.replace("-", "").replace("_", "")
    capitals = sum(char.isupper() for char in letters)
    small = sum(char.islower() for char in letters)
    mixed = capitals and small and any(char.isdigit() for char in letters)
    shuffled = len(run) >= LONG_SECRET_LETTERS and min(capitals, small) * 10 >= 3 * len(letters)
    coded = len(run) >= LONG_SECRET_LETTERS and HEX.fullmatch(run) is not None
    return REMOVED if mixed or shuffled or coded else run


def _ipv6(match: re.Match[str]) -> str:
    whole, candidate = match[0], match[1]
    before = ":" if candidate[:1] == ":" and candidate[:2] != "::" else ""
    after = ":" if candidate[-1:] == ":" and candidate[-2:] != "::" else ""
    inner = candidate[len(before) : len(candidate) - len(after)]
    if inner.strip(":") and (is_address(inner) or inner.count(":") > 4):
        return before + ADDRESS + after
    return whole


def _ipv4(match: re.Match[str]) -> str:
    numbers = re.split(r"[.-]", match[1])
    return ADDRESS if all(int(number) <= 255 for number in numbers) else match[0]

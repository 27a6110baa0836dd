"""One recipient, however the address is spelled."""

import unicodedata


def recipient_key(written: str) -> str:
    """What STOP and the limits know a recipient by: the same for every spelling that reaches them.

    Of `"Support" <mailto:Support+one@ISP.example.>` it is `support@isp.example`; of `@CenturyLink`,
    `centurylink`. Upper case, full-width letters, a display name, quotes, a trailing dot, the two
    forms of an international domain, and what follows a plus sign (RFC 5233, a sub-address of the
    same mailbox) make no other recipient. Two real mailboxes that differ by nothing else count as
    one, which can only mean fewer letters.
    """
    text = unicodedata.normalize("NFKC", written).strip()
    if text.endswith(">") and "<" in text:
        text = text[text.rindex("<") + 1 : -1].strip()
    text = text.casefold().removeprefix("mailto:").strip()
    local, at, domain = text.rpartition("@")
    if not at or not local:
        return text.lstrip("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = local[1:-1].replace("\\", "")
    mailbox = local.partition("+")[0] or local
    return f"{mailbox}@{_ascii(domain.rstrip('.'))}"


def _ascii(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain

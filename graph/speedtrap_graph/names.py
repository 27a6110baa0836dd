"""How a probe may be called."""

import re

PROBE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
PROBE_NAME_WORDS = (
    "1 to 64 characters: a to z, 0 to 9, dot, hyphen and underscore, not starting with a sign"
)

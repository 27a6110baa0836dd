"""How long to wait before the service is tried again."""

import random
from dataclasses import dataclass, field

FIRST_S = 30.0
LONGEST_S = 1800.0


@dataclass(slots=True)
class Backoff:
    """Twice as long after each failure, up to half an hour; between half of that and all of it, so
    that a service that comes back is not met by every probe at once."""

    chance: random.Random = field(default_factory=random.SystemRandom)
    failures: int = 0

    def failed(self) -> float:
        """Seconds to wait now."""
        whole_s = min(LONGEST_S, FIRST_S * 2 ** min(self.failures, 16))
        self.failures += 1
        return self.chance.uniform(whole_s / 2, whole_s)

    def succeeded(self) -> None:
        self.failures = 0

"""Small statistics used in several rooms."""

import math


def wilson(successes: int, trials: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, 95% by default (Wilson 1927).

    >>> tuple(round(v, 3) for v in wilson(97, 100))
    (0.915, 0.99)
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

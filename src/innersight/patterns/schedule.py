"""How far an image moves at an update, and when it has risen far enough: it climbs, then its steps fall to nothing."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

WAKING = 16  # updates in which silent units are woken, see tap.redirected
LONGER = 128  # and so many more for those that are silent still
CHECK = 16  # updates between looks at how far the images are: the only times the host waits for the device
RISING = 0.01  # an image has settled when CHECK updates add less than this share of its rise,
SLOWING = 0.03  # or less than this, each look less than the one before, so that
REMAINING = 0.05  # less than this share of its rise would still follow
FALLING = 32  # updates over which the steps of an image that has settled fall to nothing
LATEST = 0.25  # of all updates: those of an image that has not settled begin to fall then
BETAS = (0.5, 0.9)  # of Adam: every update sees another view, so that what the last ones saw soon misleads


def falling(updates: int, pace: int) -> int:
    """Return over how many updates the steps of an image fall that is given so many."""
    return min(FALLING * pace, math.ceil(LATEST * updates))


def rate(since: int, falling: int) -> float:
    """Return the share of the learning rate at the update `since` after the steps began to fall, negative before."""
    return 0.5 * (1 + math.cos(math.pi * max(0, since) / falling))


def settled(trace: Sequence[Tensor], span: int) -> bool:
    """Whether the objective, under the view of each update, has come near to where it would rise in the end.

    The means of the last three spans are compared. What they add to the rise falls by a quotient, and were that to go
    on, the rest would be a geometric series.
    """
    first = float(torch.stack(list(trace[:4])).mean())
    before, last, now = map(float, torch.stack(list(trace[-3 * span :])).view(3, span).mean(1))
    rise, added, earlier = abs(now - first), now - last, last - before
    if added < RISING * rise:
        return True
    if added >= min(earlier, SLOWING * rise):
        return False
    quotient = added / earlier
    rest = added * quotient / (1 - quotient)
    return rest < REMAINING * (rise + rest)

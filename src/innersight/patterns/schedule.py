"""How far an image moves at an update, and when it has risen far enough: it climbs, then its steps fall to nothing."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

WAKING = 16  # updates in which silent units are woken, see tap.redirected
LONGER = 128  # and so many more for those that are silent still
CHECK = 16  # updates between looks at how far the images are: the only times the host waits for the device
RISING = 0.04  # an image has settled when twice CHECK updates add less than this share of its rise
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
    """Whether the objective, under the view of each update, has risen little from the third last span to the last."""
    first = float(torch.stack(list(trace[:4])).mean())
    before, _, now = torch.stack(list(trace[-3 * span :])).view(3, span).mean(1).tolist()
    return bool(now - before < RISING * abs(now - first))

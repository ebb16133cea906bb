"""What an audit looks for. One file each, one registered function.

A check takes a `Subject`, the network and what was read of the images, and returns a `Report`: what it found, and in a
sentence what it looked at. Where it cannot run it raises `NotCheckedError` with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from innersight.audit.finding import Finding
from innersight.errors import InnersightError
from innersight.registry import Registry

if TYPE_CHECKING:
    from innersight.audit.subject import Subject


class NotCheckedError(InnersightError):
    """Raised by a check that cannot run on these images or this network."""


@dataclass(frozen=True)
class Report:
    """What a check returns. looked : at what, in a sentence. limits : what it could have missed on these images."""

    findings: Sequence[Finding]
    looked: str
    limits: str = ""


Check = Callable[["Subject"], Report]
checks: Registry[Check] = Registry("check", "innersight.audit.checks", order=0, limits="", labelled=False, train=False)
"""order : in which checks run and findings of equal rank are listed. limits : what the check could miss on any images,
in a sentence. labelled : it needs images whose class is known. train : it needs `train=`."""

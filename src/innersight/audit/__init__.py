"""Audit: what is wrong with a classifier, tested by intervention on images that did not suggest it."""

from innersight.audit.checks import NotCheckedError, checks
from innersight.audit.engine import audit
from innersight.audit.finding import Checked, Effect, Finding, Proof
from innersight.audit.result import Audit

__all__ = ["Audit", "Checked", "Effect", "Finding", "NotCheckedError", "Proof", "audit", "checks"]

"""Findings as plain data and tensors, and back: how a study holds them."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from innersight.audit.finding import Effect, Finding, Proof

Packed = tuple[dict[str, Any], dict[str, Tensor]]


def packed(findings: Sequence[Finding]) -> Packed:
    """Return findings as plain data, with the pixels of their proofs by number."""
    rows = [{**one.to_json(), "images": list(one.images), "proof": _proof(one.proof)} for one in findings]
    pixels = {f"finding/{i}": one.proof.pixels for i, one in enumerate(findings) if one.proof is not None}
    return {"findings": rows}, pixels


def _proof(proof: Proof | None) -> dict[str, Any] | None:
    if proof is None:
        return None
    regions = [None if region is None else list(region) for region in proof.regions]
    return {"regions": regions, "captions": list(proof.captions)}


def unpacked(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[Finding]:
    """Return the findings that `packed` made plain."""
    return [_finding(row, tensors.get(f"finding/{i}")) for i, row in enumerate(document["findings"])]


def _finding(row: Mapping[str, Any], pixels: Tensor | None) -> Finding:
    effect, proof = row["effect"], row["proof"]
    return Finding(
        row["check"],
        row["class"],
        row["sentence"],
        row["confirmed"],
        None if effect is None else Effect(**{**effect, "interval": _numbers(effect["interval"])}),
        _numbers(row["region"]),
        row["reason"],
        tuple(row["images"]),
        row["images_total"],
        row["next"],
        None if proof is None or pixels is None
        else Proof(pixels, tuple(map(_numbers, proof["regions"])), tuple(proof["captions"])),
    )  # fmt: skip


def _numbers(numbers: Sequence[float] | None) -> Any:
    return None if numbers is None else tuple(numbers)

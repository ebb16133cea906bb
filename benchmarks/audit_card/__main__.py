"""Write the recall card of `innersight.audit`: `python -m benchmarks.audit_card`, at most an hour on two cores.

    python -m benchmarks.audit_card --quick             # one network of each kind, three clean ones
    python -m benchmarks.audit_card shortcuts slices    # some parts; the others' figures are not written
    python -m benchmarks.audit_card --workers 1 --out FOLDER

Networks are kept in a temporary folder (or $INNERSIGHT_CARD), so a second run only audits. The figures are written into
docs/audit.md between its markers, or only printed with --quick; everything that was said goes to OUT/card.json.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.audit_card import report
from benchmarks.audit_card.outcome import Outcome
from benchmarks.audit_card.pool import home, pool
from benchmarks.audit_card.running import judged, part

PARTS = ("shortcuts", "honest", "slices", "labels", "preprocessing", "leaks", "peers")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Recall card of innersight.audit")
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one network of each kind; the page is left as it is")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0 for this one")
    parser.add_argument("--out", type=Path, default=None, help="folder for card.json and the sheet of misses")
    options = parser.parse_args(argv)
    out = options.out or home() / "card"
    out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    # Once, before the workers need it.
    pool()
    jobs = [(name, job) for name in options.parts for job in part(name).jobs(options.quick)]
    outcomes: list[Outcome] = []
    for outcome, seconds in judged(jobs, options.workers):
        outcomes.append(outcome)
        _print(outcome, seconds)
        (out / "card.json").write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    figures = {name: part(name).figures([o for o in outcomes if o.part == name]) for name in options.parts}
    minutes = (time.monotonic() - start) / 60
    text = report.page(figures, outcomes, minutes)
    (out / "card.md").write_text(text)
    report.sheet(outcomes, out / "misses.png")
    print(text, f"\nin {out}", flush=True)
    if not options.quick and tuple(options.parts) == PARTS:
        report.publish(text, outcomes)


def _print(outcome: Outcome, seconds: float) -> None:
    verdict = {True: "found", False: "MISSED", None: "-"}[outcome.hit]
    told = f"{verdict} {outcome.how}".strip()
    print(f"{outcome.part} {outcome.kind} {outcome.seed}: {outcome.truth or 'nothing planted'}: {told}", end="")
    print(f", {len(outcome.wrong)} wrong, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

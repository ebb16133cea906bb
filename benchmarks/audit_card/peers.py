"""What the same networks give away without a confirmation: clusters of heatmaps, and CleanVision's spurious properties.

Heatmaps: for each class a spectral embedding of its Grad-CAM maps; a large gap between neighbouring eigenvalues means
well separated clusters (SpRAy, Lapuschkin et al. 2019; CoRelAy). A class is flagged above the bound that accuses one
clean network of twenty, which is more than its users know.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage

from benchmarks.audit_card import shortcuts
from benchmarks.audit_card.cases import Case, make_case
from benchmarks.audit_card.outcome import Figure, Outcome, share
from benchmarks.audit_card.pool import CLASSES
from benchmarks.audit_card.training import fed

NEIGHBOURS, CLUSTERS = 10, 8
PROPERTIES = ("dark", "light", "blurry", "odd_aspect_ratio", "odd_size", "low_information", "grayscale")
ACCUSED = 0.05
"""Share of clean networks that the bound accuses."""


def jobs(quick: bool) -> list[tuple[str, int, float]]:
    """Return the networks of `shortcuts`."""
    return shortcuts.jobs(quick)


def judge(kind: str, seed: int, strength: float) -> Outcome:
    """Return how well the heatmaps of every class fall into clusters, the planted one apart."""
    case = make_case(kind, seed, strength)
    gaps = {label: _gap(_maps(case, label)) for label in case.labels}
    own = gaps.pop(case.label) if case.label is not None else 0.0
    numbers = {"own": own, "others": max(gaps.values()), **_spurious(case)}
    return Outcome("peers", kind, seed, "" if case.label is None else f"{kind} in {case.label}", numbers=numbers)


def _maps(case: Case, label: str) -> np.ndarray:
    """Return Grad-CAM at the last stage for each image of a class (n, h x w), each with the sum 1."""
    net: Any = case.model.net
    pixels = np.stack([np.asarray(PILImage.open(path)) for path in sorted((case.images / label).iterdir())])
    with torch.no_grad():
        x = net.stage4(net.stage3(net.stage2(net.stage1(net.stem(fed(torch.from_numpy(pixels)))))))
        # The head is linear in the mean of each unit: its weights are the gradients.
        maps = torch.einsum("nkhw,k->nhw", x, net.head.weight[case.labels.index(label)]).relu().flatten(1)
    return (maps / maps.sum(1, keepdim=True).clamp_min(1e-9)).double().numpy()


def _gap(maps: np.ndarray) -> float:
    """Return the largest gap between neighbours of the second to eighth eigenvalue of the graph's Laplacian."""
    distances = np.linalg.norm(maps[:, None] - maps[None], axis=2)
    order = distances.argsort(1)[:, 1 : NEIGHBOURS + 1]
    graph = np.zeros_like(distances)
    np.put_along_axis(graph, order, 1.0, 1)
    graph = np.maximum(graph, graph.T)
    scale = graph.sum(1) ** -0.5
    values = np.linalg.eigvalsh(np.eye(len(graph)) - scale[:, None] * graph * scale)
    return float(np.diff(values[1 : CLUSTERS + 1]).max())


def _spurious(case: Case) -> dict[str, float]:
    """Return cleanlab's lowest score of a property that goes with the labels; nothing where it is not installed.

    It says of the whole data set which property (dark, blurred, odd colours and sizes) tells the classes, not of which
    class.
    """
    if find_spec("cleanlab") is None or find_spec("cleanvision") is None:
        return {}
    import contextlib
    import io

    from cleanlab.datalab.datalab import Datalab
    from datasets import Dataset, Image

    files = sorted(case.images.glob("*/*.png"))
    data = Dataset.from_dict({"image": [str(file) for file in files], "label": [file.parent.name for file in files]})
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        lab = Datalab(data=data.cast_column("image", Image()), label_name="label", image_key="image", verbosity=0)
        lab.find_issues(issue_types={"image_issue_types": {key: {} for key in PROPERTIES}, "spurious_correlations": {}})
    table = lab.get_info("spurious_correlations")["correlations_df"]
    return {"cleanlab": float(table["score"].min())}


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card."""
    clean = [one for one in outcomes if one.kind == "clean"]
    planted = [one for one in outcomes if one.kind != "clean"]
    bound = sorted((one.numbers["others"] for one in clean), reverse=True)[round(ACCUSED * len(clean))]
    found = []
    for kinds in (shortcuts.EASY, [kind for kind in shortcuts.WORDS if kind not in shortcuts.EASY]):
        own = [one for one in planted if one.kind in kinds]
        hits = share(sum(one.numbers["own"] > bound for one in own), len(own))
        what = f"by clusters of heatmaps, with the bound that accuses 1 clean network of 20: {', '.join(kinds)}"
        found.append(Figure(what, "", hits))
    best = share(sum(one.numbers["own"] > one.numbers["others"] for one in planted), len(planted))
    chance = f"by chance {len(planted) / CLASSES:.0f}"
    found.append(Figure("the same: the planted class has the best separated clusters of all", "", f"{best}, {chance}"))
    scores = [one.numbers.get("cleanlab") for one in outcomes]
    if None not in scores:
        low = {
            one.kind: [o.numbers["cleanlab"] < CORRELATED for o in outcomes if o.kind == one.kind] for one in outcomes
        }
        each = ", ".join(f"{kind} {share(sum(flags), len(flags))}" for kind, flags in low.items())
        what = "cleanlab's properties that go with labels (which of the classes it does not say): data sets flagged"
        found.append(Figure(what, "", each))
    return found


CORRELATED = 0.3
"""Cleanlab's own bound."""

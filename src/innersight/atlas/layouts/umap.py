"""Uniform manifold approximation and projection."""

import warnings

import numpy as np

from innersight.atlas.layouts import layouts
from innersight.errors import InnersightError

NEIGHBOURS = 20


@layouts.register(
    "UMAP",
    source="McInnes, Healy and Melville 2018, arXiv:1802.03426",
    use="neighbours are alike, and groups keep more of their order than in t-SNE; needs umap-learn",
)
def umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Keep the neighbours of every vector: UMAP by umap-learn, by cosine distance."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise InnersightError("layout='umap': pip install 'innersight[umap]', or choose tsne") from error
    with warnings.catch_warnings():
        # It warns that a seed costs it its threads.
        warnings.simplefilter("ignore")
        made = UMAP(n_neighbors=min(NEIGHBOURS, len(vectors) - 1), min_dist=0.01, metric="cosine", random_state=seed)
        found: np.ndarray = made.fit_transform(vectors)
    return found

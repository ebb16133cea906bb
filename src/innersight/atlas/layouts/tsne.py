"""t-distributed stochastic neighbour embedding."""

import numpy as np

from innersight.atlas.layouts import layouts
from innersight.atlas.layouts.pca import components

PERPLEXITY = 30.0
COMPONENTS = 50  # more cost time and tell the neighbours apart no better


@layouts.register(
    "t-SNE",
    source="van der Maaten and Hinton 2008, JMLR 9",
    use="neighbours are alike; distances across the map say little",
)
def tsne(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Keep the neighbours of every vector: t-SNE by scikit-learn, of the first 50 principal components."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    reduced = components(vectors, COMPONENTS, seed)
    if min(reduced.shape) < 2:
        return np.pad(reduced, ((0, 0), (0, 2 - reduced.shape[1])))
    found: np.ndarray = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(reduced)
    return found

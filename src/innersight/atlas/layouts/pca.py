"""The plane of the largest variance."""

import numpy as np

from innersight.atlas.layouts import layouts


@layouts.register(
    "Principal components", source="Pearson 1901", use="a quick look; far apart is different, close is not always alike"
)
def pca(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Project onto the two directions of the largest variance."""
    return components(vectors, 2, seed)


def components(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return vectors (n, units) in the coordinates of their first principal components, (n, count) or fewer."""
    from sklearn.decomposition import PCA

    found: np.ndarray = PCA(min(count, *vectors.shape), random_state=seed).fit_transform(vectors)
    return found if count != 2 or found.shape[1] == 2 else np.pad(found, ((0, 0), (0, 1)))

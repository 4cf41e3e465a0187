"""The plane in which vectors vary most, for maps of words."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane through the mean of some vectors."""

    centre: Float[np.ndarray, " hidden"]
    directions: Float[np.ndarray, "2 hidden"]
    shown_percent: tuple[float, float]  # of the variance, by direction

    def points(self, vectors: Float[np.ndarray, "word hidden"]) -> Float[np.ndarray, "word 2"]:
        """Where vectors fall on the plane."""
        return (vectors - self.centre) @ self.directions.T


def unit_length(vectors: Float[np.ndarray, "word hidden"]) -> Float[np.ndarray, "word hidden"]:
    """The vectors with length 1, as cosine sees them; zero vectors stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def principal_plane(vectors: Float[np.ndarray, "word hidden"]) -> Plane:
    """The plane of the largest variance of some vectors.

    The entry of largest magnitude in each direction is positive, which fixes a map's orientation.
    Source: Pearson, 1901 (Philosophical Magazine 2), principal components.
    """
    centre = vectors.mean(axis=0).astype(np.float64)
    _, lengths, directions = np.linalg.svd(vectors - centre, full_matrices=False)
    plane = np.zeros((2, vectors.shape[1]))
    plane[: len(directions[:2])] = directions[:2]
    heaviest = plane[np.arange(2), np.abs(plane).argmax(axis=1)]
    shares = 100 * lengths**2 / max(float((lengths**2).sum()), 1e-30)
    shown = (float(shares[0]), float(shares[1]) if len(shares) > 1 else 0.0)
    return Plane(centre, plane * np.where(heaviest < 0, -1, 1)[:, None], shown)

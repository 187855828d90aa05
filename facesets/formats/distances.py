"""Distances belong to a recogniser: where they were found for each that is known. A cache records its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Cos-dists; `source` says where they were found."""

    known_distance: float
    cluster_distance: float
    source: str


BUFFALO_L = Thresholds(0.45, 0.55, "one home library, 19,480 faces, buffalo_l")

# SHA-256 of the recogniser's file -> its distances. A pack that is not here gets those that a library's strangers give
# when it is clustered, and until then those of buffalo_l.
MODELS: dict[str, Thresholds] = {
    "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43": BUFFALO_L,
    # benchmarks/identities.py prints what an operator gets at these, and with --strangers where the strangers of a
    # library put them, which is stricter than what the few people choose whose photos are labelled (--choose).
    "5c98a8f2e7237e2970b5edd187c8ee5c652888d20fd7a7757a70e6bb5c85d554": Thresholds(
        0.55, 0.65, "insightface_small: 4.8 and 3.7 spreads above the middle of strangers"),
    "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581": Thresholds(
        0.55, 0.65, "embed_512: 4.8 and 3.7 spreads above the middle of strangers"),
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee": Thresholds(
        0.525, 0.575, "opencv_zoo: 4.3 and 3.7 spreads above the middle of strangers"),
}


def of(recogniser_sha256: str) -> tuple[float, float]:
    """Where the recogniser's same person ends and where its clusters end; buffalo_l's if unknown."""
    found = MODELS.get(recogniser_sha256, BUFFALO_L)
    return found.known_distance, found.cluster_distance


def measured(recogniser_sha256: str) -> tuple[float, float] | None:
    """The same, where it was measured beyond one home library; else the strangers of each library tell."""
    found = MODELS.get(recogniser_sha256, BUFFALO_L)
    return None if found is BUFFALO_L else (found.known_distance, found.cluster_distance)

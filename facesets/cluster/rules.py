"""What decides who is one person: every threshold of clustering as a plain value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """Distances are cos-dist and belong to the recogniser; the reasons stand in config.py."""

    known_distance: float = 0.45
    cluster_distance: float = 0.55
    known_margin: float = 0.05
    merge_distance: float = 0.40        # identities whose centroids are this near are one
    join_distance: float = 0.63         # a leftover joins an identity whose best faces are this near
    join_margin: float = 0.10           # and nearer than that of any other by so much
    join_faces: int = 3                 # clusters of up to so many faces count as leftovers
    photo_penalty: float = 0.25         # similarity lost when every face of the smaller cluster shares a photo
    photo_veto: float = 0.1             # share of shared photos from which on two clusters are two people
    approximate_from: int = 2_000_000   # faces from which the first search may miss links
    min_faces: int = 6
    min_photos: int = 3
    min_thin: int = 3                   # fewer faces than this are nobody in particular, not a thin faceset
    spread: float = 0.40                # mean cos-dist to the centroid that a faceset may have
    near_duplicate: float = 0.95        # similarity from which on two faces show one moment
    min_score: float = 0.5              # the detector's, 0..1
    min_short: float = 40.0             # pixels
    min_blur: float = 20.0              # variance of the Laplacian; larger is sharper

"""The refine manifest: what clustering, `refine`, `extend` and `import-folders` propose and `export-swap` carries out.

    {"schema": 1, "run", "made_by", "created", "model": {...}, "caches": [path, ...], "settings": {...},
     "facesets": [GROUP, ...], "thin": [GROUP, ...], "extend": {"faceset_003": [FACE, ...]},
     "ambiguous": [FACE, ...], "rejected": [FACE, ...], "leftover": [FACE, ...], "counts": {...}}

GROUP  {"faces": [FACE, ...] best first, "proposed_name", "names": {name: faces that Immich says so}, "reason",
        "folder": "" or the hand-sorted folder it comes from}
FACE   {"face": face key of formats.cache, "distance": cos-dist to the group's centroid, "reason": "" or why it is out}

Faces are named by key, never by row, so a proposal holds for any order of the caches it was made from.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..common import files

SCHEMA = 1
# Of `counts`: what is said of so many faces, and the CSS class of their share in the report.
COUNTS = {
    "held": ("in a faceset already", "known"), "known": ("known: to extend", "known"),
    "dropped": ("of people you dropped", "rest"), "new": ("in new facesets", "use"),
    "ambiguous": ("between two people", "bad"), "thin": ("seen too seldom", "rest"),
    "leftover": ("seen once or twice, or far from all", "rest"), "rejected": ("too poor to tell, or left out", "rest")}


@dataclass(frozen=True)
class Face:
    face: str               # face key
    distance: float = 0.0   # cos-dist to the centroid of its group
    reason: str = ""


@dataclass(frozen=True)
class Group:
    faces: tuple[Face, ...]
    proposed_name: str = ""
    names: dict[str, int] = field(default_factory=dict)     # what Immich calls its faces, and how many of them
    reason: str = ""        # why it is thin
    folder: str = ""        # the hand-sorted folder that it stands for


@dataclass(frozen=True)
class Proposal:
    run: str                # e.g. "20261122-183000-cluster-peter"
    made_by: str
    created: str            # ISO 8601, UTC
    model: dict[str, Any]
    caches: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    facesets: tuple[Group, ...] = ()
    thin: tuple[Group, ...] = ()
    extend: dict[str, tuple[Face, ...]] = field(default_factory=dict)   # known faces per canonical faceset
    ambiguous: tuple[Face, ...] = ()
    rejected: tuple[Face, ...] = ()
    leftover: tuple[Face, ...] = ()         # of nobody who was seen often enough
    counts: dict[str, int] = field(default_factory=dict)


def signed(verb: str, made_by: str) -> dict[str, Any]:
    """`run`, `made_by` and `created` of a proposal that is made now."""
    now = time.gmtime()
    return {"run": time.strftime("%Y%m%d-%H%M%S-", now) + verb, "made_by": made_by,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", now)}


def write(path: Path, proposal: Proposal) -> None:
    files.write_json(path, {"schema": SCHEMA, **asdict(proposal)})


def read(path: Path) -> Proposal:
    value = files.read_json(path, SCHEMA, "cluster_immich.py or sort_faces.py cluster")
    value.pop("schema")
    with files.understood(path, "a refine manifest"):
        return Proposal(**{
            **value, "caches": tuple(value["caches"]),
            "facesets": tuple(map(_group, value["facesets"])), "thin": tuple(map(_group, value["thin"])),
            "extend": {str(name): _faces(faces) for name, faces in value["extend"].items()},
            "ambiguous": _faces(value["ambiguous"]), "rejected": _faces(value["rejected"]),
            "leftover": _faces(value.get("leftover", []))})


def newest(made: Iterable[Proposal]) -> list[Proposal]:
    """The last one, which has what those before it had, and of these only those with caches that it did not look at."""
    found, seen = list[Proposal](), set[str]()
    for one in sorted(made, key=lambda one: one.created, reverse=True):
        if not found or not seen.issuperset(one.caches):
            found.append(one)
        seen.update(one.caches)
    return found


def _faces(items: list[dict[str, Any]]) -> tuple[Face, ...]:
    return tuple(Face(str(item["face"]), float(item["distance"]), str(item["reason"])) for item in items)


def _group(item: dict[str, Any]) -> Group:
    return Group(_faces(item["faces"]), str(item["proposed_name"]),
                 {str(name): int(count) for name, count in item["names"].items()}, str(item["reason"]),
                 str(item["folder"]))

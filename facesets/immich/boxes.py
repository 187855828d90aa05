"""Immich's face boxes: how big a face is in the original, and where it is in fractions of the picture.

A box lives in the frame `imageWidth` × `imageHeight` of its own row, which is Immich's upright preview. The original's
upright sides come from the asset (`width`, `height`), or from exif with orientations 5 to 8 swapped.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ..formats.queue import ImmichFace

ASPECT = 0.02       # a frame whose aspect differs by more is that of another picture (a crop, a stale row)

Item = Mapping[str, Any]
Size = tuple[int, int]


def upright_size(asset: Item) -> Size:
    """Sides of the unedited original as one sees it; (0, 0) unknown."""
    exif = asset.get("exifInfo") or {}
    width, height = _side(exif.get("exifImageWidth")), _side(exif.get("exifImageHeight"))
    if str(exif.get("orientation") or "") in ("5", "6", "7", "8"):
        width, height = height, width
    edited = bool(asset.get("isEdited"))    # then the asset's own sides are those of the edited picture
    if not edited and _side(asset.get("width")) and _side(asset.get("height")):
        width, height = _side(asset["width"]), _side(asset["height"])
    return (width, height) if width and height else (0, 0)


def edited_size(asset: Item) -> Size:
    """Sides of the edited picture, (0, 0) if there is none."""
    if not asset.get("isEdited"):
        return 0, 0
    return _side(asset.get("width")), _side(asset.get("height"))


def faces_of(asset: Item) -> list[dict[str, Any]] | None:
    """The visible faces in a search reply of 2.x as flat rows; None where the reply has no boxes (3.x)."""
    people = asset.get("people")
    if "unassignedFaces" not in asset or not isinstance(people, list):
        return None
    rows = [dict(face) for face in asset["unassignedFaces"] or ()]
    for person in people:
        rows += [{**face, "person": person} for face in person.get("faces") or ()]
    return rows


def visible(faces: Iterable[Item]) -> list[Item]:
    return [face for face in faces if face.get("isVisible") is not False and not face.get("deletedAt")]


def measure(faces: Iterable[Item], size: Size, placed: bool = True) -> tuple[float, list[ImmichFace]]:
    """The largest `face_short` (shorter side of a face in pixels of the original), and the boxes in fractions.

    size: of the upright picture that the frames are previews of, (0, 0) unknown: then the frame stands for it, which is
    never larger. placed False: that picture is an edited one, which has the original's scale, but a box's place in the
    original is not known, so there are no fractions.
    """
    largest, boxes = 0.0, []
    for face in faces:
        frame = _side(face.get("imageWidth")), _side(face.get("imageHeight"))
        corners = _clamped(face, frame) if all(frame) else None
        whole = size if all(size) else frame
        if corners is None or not same_aspect(whole, frame):
            continue
        x1, y1, x2, y2 = corners
        largest = max(largest, min((x2 - x1) * whole[0] / frame[0], (y2 - y1) * whole[1] / frame[1]))
        person = face.get("person") or {}
        boxes.append(ImmichFace((round(x1 / frame[0], 6), round(y1 / frame[1], 6), round(x2 / frame[0], 6),
                                 round(y2 / frame[1], 6)), str(person.get("id") or ""), str(person.get("name") or "")))
    return largest, sorted(boxes, key=lambda face: (face.box, face.person_id)) if placed else []


def same_aspect(a: Size, b: Size) -> bool:
    """Do the two have one shape, but for rounding to whole pixels of the smaller?"""
    rounding = 1 / min(*a, *b)
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= max(ASPECT, rounding)


def _clamped(face: Item, frame: Size) -> tuple[float, float, float, float] | None:
    """The box cut to its frame, None if nothing is left or it is no box."""
    try:
        x1, y1, x2, y2 = (float(face[f"boundingBox{name}"]) for name in ("X1", "Y1", "X2", "Y2"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    x1, x2 = (min(max(side, 0.0), float(frame[0])) for side in (x1, x2))
    y1, y2 = (min(max(side, 0.0), float(frame[1])) for side in (y1, y2))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _side(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 1 << 20 else 0

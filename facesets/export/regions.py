"""export-regions: who is where, as XMP sidecars with MWG face regions, which digiKam reads (docs/tools.md: Lightroom).

    OUT/<user>/<photo>.xmp      one a photo that shows somebody with a name, to be laid beside that photo

Metadata Working Group, Guidelines 2.0, section 5.9: an area is its middle and its sides in parts of the picture as it
is stored, before EXIF's orientation turns it. Our boxes are those of the upright photo.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from ..common import files, terminal
from ..embed import decode
from ..formats import cache
from ..formats.faceset import FACES, read_faces
from ..library.folder import MANIFEST, read_record
from ..library.store import Library
from . import crop, outside, render
from .select import DUPLICATE, ONE_MOMENT

LONGEST = 240               # bytes of a photo's name, which take an ending or part of the SHA-256 more
NO_DOUBT = (*crop.NEVER, ONE_MOMENT, DUPLICATE.partition("{")[0])     # reasons that say nothing about who it is
Area = tuple[float, float, float, float]        # middle across and down, width, height; in parts of the picture

SIDECAR = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>
    <mwg-rs:RegionList><rdf:Bag>
{regions}
    </rdf:Bag></mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
REGION = """    <rdf:li><rdf:Description mwg-rs:Name={name} mwg-rs:Type="Face">
     <mwg-rs:Area stArea:x="{0:.6f}" stArea:y="{1:.6f}" stArea:w="{2:.6f}" stArea:h="{3:.6f}" stArea:unit="normalized"/>
    </rdf:Description></rdf:li>"""


@dataclass
class Photo:
    path: str
    user: str
    size: tuple[int, int] = (0, 0)      # upright, when its faces were found; 0 for unknown
    faces: list[tuple[str, list[float]]] = field(default_factory=list)      # name, box of the upright photo


def export(library: Library, target: Path, names: dict[str, str]) -> list[str]:
    """Write a sidecar for every photo with a named faceset's face. names: SHA-256 -> what the photo is called."""
    photos: dict[str, Photo] = {}
    for line in library.manifest().facesets:
        if line.name:
            record = read_record(library.root / line.folder / MANIFEST)
            sizes = {photo.sha256: (photo.width, photo.height)
                     for photo in read_faces(library.root / line.folder / FACES).faces.photos}
            for item in (*record.faces, *filter(_hers, record.left_out)):
                photo = photos.setdefault(item["sha256"], Photo(item["photo"], item.get("user", ""),
                                                                sizes.get(item["sha256"], (0, 0))))
                photo.faces.append((line.name, list(map(float, item.get("box") or item["face"][65:].split(",")))))
    render.pause_where_away([photo.path for photo in photos.values() if not os.access(photo.path, os.R_OK)],
                            [photo.path for photo in photos.values()])
    by_user: dict[str, dict[str, Photo]] = {
        user or "own": {} for line in library.manifest().entries for user in line.users
        if (target / (outside.clean(user) or "own") / outside.LISTED).exists()}     # sidecars that nobody is in by now
    for sha256, photo in sorted(photos.items()):
        by_user.setdefault(photo.user or "own", {})[sha256] = photo
    seen = render.Photos()
    said = [] if photos else ["no faceset has a name yet; sort_faces.py name FACESET NAME"]
    folders = {target / (outside.clean(user) or "own"): some for user, some in by_user.items()}
    with outside.alone(library.root, target, folders):
        for folder, some in folders.items():
            outside.remember(library.root, folder, "")
            with outside.updating(folder) as scratch:
                written = sum(_sidecar(scratch, sha256, photo, names, seen) for sha256, photo in some.items())
            said.append(f"{terminal.safe(folder)}: {written} sidecars")
    return said + seen.said()


def _hers(item: dict[str, Any]) -> bool:
    """Whether a face without a picture is of its faceset all the same; what is left of its box is in its key."""
    return cache.FACE_KEY.fullmatch(item["face"]) is not None and item["reason"].startswith(NO_DOUBT)


def _sidecar(folder: Path, sha256: str, photo: Photo, names: dict[str, str], seen: render.Photos) -> bool:
    try:
        size, upright, turn = render.header(photo.path)
        if render.is_other(upright, photo.size):        # or our decoder does not turn it as Pillow would
            upright = decode.read_upright(photo.path).shape[1::-1]
    except Exception as error:      # Pillow's plug-ins raise whatever they like
        terminal.say(f"{terminal.safe(photo.path)} cannot be read ({type(error).__name__}); it gets no sidecar")
        return False
    if seen.is_changed(photo.path, upright, photo.size):
        return False
    called = outside.clean(Path(names.get(sha256, "") or photo.path).name, LONGEST) or sha256
    if (folder / f"{called}.xmp").exists():         # two photos of one name
        called = f"{Path(called).stem}-{sha256[:8]}{Path(called).suffix}"
    files.write_bytes(folder / f"{called}.xmp", sidecar(size, turn, photo.faces).encode())
    return True


def sidecar(size: tuple[int, int], turn: int, faces: Sequence[tuple[str, Sequence[float]]]) -> str:
    """The text of a sidecar. size: of the picture as stored; turn: EXIF's orientation, 1..8; faces: name and box."""
    upright = size if turn < 5 else size[::-1]
    regions = "\n".join(REGION.format(*stored(box, upright, turn), name=quoteattr(name)) for name, box in faces)
    return SIDECAR.format(width=size[0], height=size[1], regions=regions)


def stored(box: Sequence[float], upright: tuple[int, int], turn: int) -> Area:
    """A box of the upright photo as an area of the picture as it is stored."""
    x1, x2 = (min(max(side / upright[0], 0.0), 1.0) for side in (box[0], box[2]))
    y1, y2 = (min(max(side / upright[1], 0.0), 1.0) for side in (box[1], box[3]))
    x, y, width, height = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    return {2: (1 - x, y, width, height), 3: (1 - x, 1 - y, width, height), 4: (x, 1 - y, width, height),
            5: (y, x, height, width), 6: (y, 1 - x, height, width), 7: (1 - y, 1 - x, height, width),
            8: (1 - y, x, height, width)}.get(turn, (x, y, width, height))

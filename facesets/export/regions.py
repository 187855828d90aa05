"""export-regions: who is where, as XMP sidecars with MWG face regions, which digiKam reads (docs/tools.md: Lightroom).

    OUT/<user>/<photo>.xmp          one a photo that shows somebody with a name, to be laid beside that photo
    OUT/own/<folder>/<photo>.xmp    of the operator's own photos, in the folders in which these lie

Metadata Working Group, Guidelines 2.0, section 5.9: an area is its middle and its sides in parts of the picture as it
is stored, before EXIF's orientation turns it. Our boxes are those of the upright photo.
"""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from ..common import files, terminal
from ..embed import decode
from ..formats import cache
from ..formats.faceset import FACES, read_faces
from ..library.folder import MANIFEST, read_record
from ..library.store import Library
from . import crop, outside, render
from .select import DUPLICATE, ONE_MOMENT

OWN = "own"                 # folder of the sidecars of the operator's own photos
LONGEST = 240               # bytes of a photo's name, which take an ending or part of the SHA-256 more
NO_DOUBT = (*crop.NEVER, ONE_MOMENT, DUPLICATE.partition("{")[0])     # reasons that say nothing about who it is
Place = tuple[Path, str, bool]                  # of a sidecar, without ending; SHA-256; whether photos share the name
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
class Seen:
    """A photo that shows somebody with a name."""

    photo: cache.Photo
    faces: list[tuple[str, np.void]] = field(default_factory=list)      # names and FACE rows


def export(library: Library, target: Path, users: Mapping[str, Mapping[str, Collection[str]]]) -> list[str]:
    """Write a sidecar for every photo with a named faceset's face, into the folder of each user who has it.

    users   label -> SHA-256 of a photo -> what it is called there, which a photo that is there twice may be twice
    """
    with library.locked("sort_faces.py export-regions"):
        photos = _named(library)
        render.pause_where_away([seen.photo.path for seen in photos.values()])
        texts, left = _texts(photos)
        folders: dict[Path, list[Place]] = {
            folder: [] for folder in outside.sidecars(library.root, target)}       # that nobody is in by now
        for user in sorted({seen.photo.user for seen in photos.values()} | users.keys()):
            called = {(sha256, name) for sha256 in texts.keys() & users.get(user, {}).keys()
                      for name in users[user][sha256]}
            told = {sha256 for sha256, _ in called}
            called |= {(sha256, photos[sha256].photo.path) for sha256 in texts.keys() - told
                       if photos[sha256].photo.user == user}
            if called:
                folders[target / (outside.clean(user) or OWN)] = _places(called, not user)
        said = [] if photos else ["no faceset has a name yet; sort_faces.py name FACESET NAME"]
        with outside.alone(library.root, target, dict.fromkeys(folders, "")):
            outside.remember(library.root, dict.fromkeys(folders, ""))
            for folder, places in folders.items():
                said += _write(folder, places, texts)
    return said + left


def _write(folder: Path, places: Sequence[Place], texts: Mapping[str, str]) -> list[str]:
    with outside.updating(folder) as scratch:
        for place, sha256, _ in places:
            files.write_bytes(scratch / f"{place}.xmp", texts[sha256].encode())
    number, _, lines = outside.lying(folder, ".xmp")
    double = sum(shared for *_, shared in places)
    shared = [f"{double} of them are of photos that share their names; which is whose, their sizes tell"]
    return [f"{terminal.safe(folder)}: {terminal.many(number, 'sidecar')}", *lines, *shared * (double > 0)]


def _places(called: Collection[tuple[str, str]], own: bool) -> list[Place]:
    """Where in a user's folder the sidecars of photos go (SHA-256, what it is called); those of the operator's `own`
    photos lie in the folders of these. Of photos of one name none has the plain one."""
    above = os.path.commonpath([os.path.dirname(path) for _, path in called]) if own else ""
    places = [(Path(*(outside.clean(part, LONGEST) or "_" for part in
                      (os.path.relpath(path, above) if own else os.path.basename(path)).split(os.sep))), sha256)
              for sha256, path in sorted(called)]
    times = Counter(str(place).casefold() for place, _ in places)
    return [(place.with_name(f"{place.stem}-{sha256[:8]}{place.suffix}") if shared else place, sha256, shared)
            for place, sha256 in places for shared in [times[str(place).casefold()] > 1]]


def _named(library: Library) -> dict[str, Seen]:
    """The photos that show somebody with a name, by their SHA-256."""
    photos: dict[str, Seen] = {}
    for line in library.manifest().facesets:
        if line.name:
            record = read_record(library.root / line.folder / MANIFEST)
            members = read_faces(library.root / line.folder / FACES).faces
            hers = {item["face"] for item in record.faces} | {     # with a picture, or without but hers all the same
                item["face"] for item in record.left_out if item["reason"].startswith(NO_DOUBT)}
            for key, face in zip(cache.face_keys(members), members.faces, strict=True):
                if key in hers:
                    photo = members.photos[face["photo"]]
                    photos.setdefault(photo.sha256, Seen(photo)).faces.append((line.name, face))
    return photos


def _texts(photos: Mapping[str, Seen]) -> tuple[dict[str, str], list[str]]:
    """The sidecars of the photos, by SHA-256, and lines of those that get none."""
    texts, changed, previews = dict[str, str](), [], []
    with terminal.progress(len(photos), "sidecars", "photos") as bar:
        for sha256, seen in sorted(photos.items()):
            bar.update()
            path = seen.photo.path
            if seen.photo.source == "preview":      # upright, and nobody says which way the original is stored
                previews.append(path)
                continue
            try:
                size, turn = render.header(path)
                same = render.same_bytes(path, sha256) or render.still_shows(
                    decode.read_upright(path), seen.photo, np.array([face for _, face in seen.faces], cache.FACE))
            except Exception as error:      # Pillow's plug-ins raise whatever they like
                terminal.say(f"{terminal.safe(path)} cannot be read ({type(error).__name__}); it gets no sidecar")
                continue
            if same:
                texts[sha256] = sidecar(size, turn, [(name, face["box"].tolist()) for name, face in seen.faces])
            else:
                changed.append(path)
    left = [f"without a sidecar, since only Immich's preview can be read, which does not say how they are turned: "
            f"{terminal.many(len(previews), 'photo')}, e.g. {terminal.safe(previews[0])}"] if previews else []
    return texts, [*render.changed(changed), *left]


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

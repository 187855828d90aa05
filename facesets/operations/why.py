"""why: what became of every face of a photo, at every stage, in words."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common import files
from ..common.errors import UsageError
from ..formats import cache
from ..formats.cache import Cache
from ..formats.proposal import Face, Proposal
from ..library import folder as folders
from ..library.store import Library


def why(library: Library, photo: str, caches: Mapping[Path, Cache],
        proposals: Mapping[Path, Proposal]) -> list[dict[str, Any]]:
    """Each face of `photo` with all that is known of it; `photo` itself where it has none.

    photo    a path, a file name, a SHA-256, an asset id, a face key, or a picture (faceset_003/0007.png)
    returns  [{"face", "photo", "stage", "where", "what"}], in the order in which the stages came
    Raises UsageError where nobody has heard of the photo.
    """
    wanted = _meant(library, photo)
    found = [item for path, whole in caches.items() for item in _in_cache(path, whole, wanted)]
    shas = {item["face"][:64] for item in found} | {text for text in wanted if len(text) == 64}
    for path, made in proposals.items():
        found += _in_proposal(path, made, shas)
    found += _in_library(library, shas, wanted)
    if not found:
        raise UsageError(f"no cache, proposal or faceset knows {photo!r:.200}")
    return found


def _meant(library: Library, photo: str) -> set[str]:
    """The texts by which the photo may be known: as given, resolved, hashed; of a picture, the photo it is from."""
    wanted = {photo, Path(photo).name} if "/" not in photo else {photo}
    path = Path(photo)
    picture = library.root / photo if (library.root / photo).is_file() else path
    record = picture.parent / folders.MANIFEST
    if picture.suffix == ".png" and record.is_file():
        return {item["face"] for item in folders.read_record(record).faces if item["file"] == picture.name} | {photo}
    if path.is_file():
        wanted |= {str(path.absolute()), files.sha256_of(path)}
    return wanted


def _line(face: str, photo: str, stage: str, where: str, what: str) -> dict[str, Any]:
    return {"face": face, "photo": photo, "stage": stage, "where": where, "what": what}


def _in_cache(path: Path, whole: Cache, wanted: set[str]) -> Iterable[dict[str, Any]]:
    aliases = {sha256 for other, sha256 in whole.path_aliases.items() if other in wanted or Path(other).name in wanted}
    rows = cache.rows_of(whole)
    keys = {text for text in wanted if "@" in text}
    shas = aliases | {key[:64] for key in keys}
    for photo in whole.photos:
        if not photo.called & wanted and photo.sha256 not in shas:
            continue
        if photo.status != "faces":
            text = f"could not be read: {photo.reason}" if photo.status == "error" else "no face was found"
            yield _line(photo.sha256, photo.path, "embed", str(path), text)
        for row in rows.get(photo.sha256, ()):
            face = whole.faces[row]
            key = cache.face_key(photo.sha256, face["box"])
            if not keys or key in keys:
                name = whole.persons[row].name
                yield _line(key, photo.path, "embed", str(path),
                            f"found, quality {face['quality']:.2f}, {face['face_short']:.0f} pixels, detector "
                            f"{face['det_score']:.2f}" + (f"; Immich says {name}" if name else ""))


def _in_proposal(path: Path, made: Proposal, shas: set[str]) -> Iterable[dict[str, Any]]:
    fates: list[tuple[str, Iterable[Face]]] = [
        (f"known: {folder}", faces) for folder, faces in made.extend.items()]
    fates += [(f"in new group {number}", group.faces) for number, group in enumerate(made.facesets, 1)]
    fates += [(f"in a group that is too thin ({group.reason})", group.faces) for group in made.thin]
    fates += [("between two people", made.ambiguous), ("rejected", made.rejected), ("left over", made.leftover)]
    for fate, faces in fates:
        for face in faces:
            if face.face[:64] in shas:
                yield _line(face.face, "", "cluster", str(path), fate + (f": {face.reason}" if face.reason else
                                                                        f", distance {face.distance:.2f}"))


def _in_library(library: Library, shas: set[str], wanted: set[str]) -> Iterable[dict[str, Any]]:
    manifest = library.manifest()
    for entry in manifest.entries:
        place = library.root / entry.folder / folders.MANIFEST
        if not place.exists():
            continue
        record = folders.read_record(place)
        title = entry.folder + (f" ({record.name or record.proposed_name})" if record.name or record.proposed_name
                                else "")
        for item in record.faces:
            if _is(item, shas, wanted):
                yield _line(item["face"], item["photo"], "faceset", title,
                            f"picture {item['file']}, {item['isolation']}, quality {item['quality']:.2f}, distance "
                            f"{item['distance']:.2f}" + (", in the top 8" if item["file"] in record.top else ""))
        for item in record.left_out:
            if _is(item, shas, wanted):
                yield _line(item["face"], item["photo"], "faceset", title, f"no picture: {item['reason']}")
        for key in manifest.not_this.get(entry.folder, ()):
            if key[:64] in shas:
                yield _line(key, "", "faceset", title, "a person said that this is somebody else")


def _is(item: dict[str, Any], shas: set[str], wanted: set[str]) -> bool:
    return item["sha256"] in shas or bool({item["photo"], Path(item["photo"]).name, item["face"]} & wanted)


def text(found: Sequence[dict[str, Any]]) -> list[str]:
    """What `why` found as a person reads it, face by face."""
    lines = []
    for face in dict.fromkeys(item["face"] for item in found):
        mine = [item for item in found if item["face"] == face]
        photo = next((item["photo"] for item in mine if item["photo"]), "")
        lines.append(f"{photo or face[:16]}" + (f", face at {face.partition('@')[2]}" if "@" in face else ""))
        lines += [f"  {item['stage']:<8} {item['what']}  ({item['where']})" for item in mine]
    return lines

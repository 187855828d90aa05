"""Sidecars say who is where in the picture as it is stored, however EXIF turns it, and are XML whatever the name is."""

import os
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import OPTIONS, library_photos, measured, proposal_of
from PIL import Image, ImageOps

from facesets.common import files
from facesets.common.errors import Paused
from facesets.export import regions, render, swap
from facesets.formats import cache
from facesets.library.run import changing
from facesets.library.store import Library
from facesets.operations import edit

NAMES = {"mwg": "{http://www.metadataworkinggroup.com/schemas/regions/}", "area": "{http://ns.adobe.com/xmp/sType/Area#}"}


def read(text: str) -> list[tuple[str, list[float]]]:
    root = ET.fromstring(text[text.index("<x:"):text.rindex("<?")])
    found = []
    for item in root.iter(f"{NAMES['mwg']}Area"):
        found.append([float(item.get(f"{NAMES['area']}{side}")) for side in "xywh"])
    who = [item.get(f"{NAMES['mwg']}Name") for item in root.iter() if item.get(f"{NAMES['mwg']}Name")]
    return list(zip(who, found, strict=True))


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_area_is_where_the_face_is_in_the_stored_picture(turn, tmp_path) -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[40:100, 250:330] = 255                               # a mark in the picture as it is stored
    exif = Image.Exif()
    exif[render.ORIENTATION] = turn
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        upright = np.array(ImageOps.exif_transpose(picture))
        size = picture.size
    ys, xs = np.nonzero(upright[..., 0])
    box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)      # as our decoder would find it
    (name, (x, y, width, height)), = read(regions.sidecar(size, turn, [("Anna", box)]))
    assert name == "Anna" and size == (400, 300)
    assert np.allclose([x * 400, y * 300, width * 400, height * 300], [290, 70, 80, 60], atol=0.01)


@pytest.mark.parametrize("name", ['<"&\'>', "Zoë 王", "</rdf:li>"])
def test_a_name_stays_a_name(name) -> None:
    assert read(regions.sidecar((100, 100), 1, [(name, (0, 0, 10, 10))]))[0][0] == name


def test_named_people_only_under_the_name_that_the_photo_has_in_immich(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1, 2], 7, user="peter")
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    assert "no faceset has a name" in regions.export(library, tmp_path / "out", {})[0]
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
    sha256 = faces.photos[0].sha256
    said = regions.export(library, tmp_path / "out", {"peter": {sha256: {"../../IMG_1.png"},
                                                                faces.photos[1].sha256: {"IMG_1.png"}}})
    written = sorted(path.name for path in (tmp_path / "out" / "peter").glob("*.xmp"))
    assert said[0] == f"{tmp_path}/out/peter: 7 sidecars" and len(written) == 7
    assert said[1].startswith("2 of them are of photos that share their names")
    assert [name for name in written if name.startswith("IMG_1")] == sorted(
        f"IMG_1-{photo.sha256[:8]}.png.xmp" for photo in faces.photos[:2])      # neither lies beside the other's photo
    box = faces.faces["box"][0]
    (name, (x, y, _, _)), = read((tmp_path / "out" / "peter" / f"IMG_1-{sha256[:8]}.png.xmp").read_text())
    assert name == "Anna" and abs(x * 640 - (box[0] + box[2]) / 2) < 5 and abs(y * 480 - (box[1] + box[3]) / 2) < 5
    assert cv2.imread(faces.photos[0].path) is not None         # the photo itself is as it was


def test_a_photo_of_a_long_name_gets_its_sidecar_and_a_pipe_in_the_place_of_one_is_not_waited_for(
        tmp_path, capsys) -> None:
    faces = library_photos(tmp_path / "photos", [1], 7, user="peter")
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
    pipe = Path(faces.photos[1].path)
    pipe.unlink()
    os.mkfifo(pipe)
    name = "王" * 70 + ".png"
    said = regions.export(library, tmp_path / "out", {"peter": {faces.photos[0].sha256: {name}}})
    assert (tmp_path / "out" / "peter" / f"{name}.xmp").exists()
    assert "6 sidecars" in said[0] and "001.png cannot be read" in capsys.readouterr().err


def test_who_is_named_is_in_the_sidecar_of_every_photo_also_where_there_is_no_picture_of_the_face(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 9)
    faces.embeddings[1:3] = faces.embeddings[0]         # near-duplicates: one picture of three
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
        edit.not_this(run, "1", [faces.photos[8].sha256], OPTIONS)
    regions.export(library, tmp_path / "out", {})
    written = {path.stem: path.read_text() for path in (tmp_path / "out" / "anna").glob("*.xmp")}
    assert sorted(written) == [f"{number:03d}.png" for number in range(8)]      # not the one that is not Anna
    box = faces.faces["box"][2]
    (_, (x, y, width, _)), = read(written["002.png"])
    assert np.allclose([x * 640, y * 480, width * 640], [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0]])


def test_a_name_that_was_taken_back_is_in_no_sidecar_and_a_persons_own_stay(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 7)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    (tmp_path / "out" / "anna").mkdir(parents=True)
    (tmp_path / "out" / "anna" / "000.png.xmp").write_text("of digiKam")
    with changing(library, "name") as run:
        edit.name(run, "1", "Berta")
    for _ in range(2):
        said = regions.export(library, tmp_path / "out", {})
        assert "6 sidecars" in said[0] and said[1].startswith("1 of yours lie where ours would")
    assert sum("Berta" in path.read_text() for path in (tmp_path / "out").rglob("*.xmp")) == 6
    for _ in range(2):      # the name, then the faceset
        library.undo()
        assert "no faceset has a name" in regions.export(library, tmp_path / "out", {})[0]
    assert [path.read_text() for path in (tmp_path / "out").rglob("*.xmp")] == ["of digiKam"]


def test_a_photo_that_was_turned_cropped_or_shrunk_since_gets_no_sidecar_and_one_that_only_got_a_date_does(
        tmp_path) -> None:
    faces = measured(library_photos(tmp_path / "photos", [1], 9))
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
    pixels = cv2.imread(faces.photos[0].path)
    for item, other in zip(faces.photos, (np.rot90(pixels), pixels[:300, :300], cv2.resize(pixels, (320, 240)),
                                          np.rot90(pixels, 2), pixels[::-1] // 2), strict=False):
        cv2.imwrite(item.path, other)
    with open(faces.photos[5].path, "ab") as file:
        file.write(b"as of exiftool")
    said = regions.export(library, tmp_path / "out", {})
    assert "4 sidecars" in said[0] and said[1].startswith("5 photos have changed since, e.g. ")
    assert sorted(path.name for path in (tmp_path / "out" / "anna").glob("*.xmp")) == [
        f"{number:03d}.png.xmp" for number in range(5, 9)]


def test_a_photo_that_two_users_have_gets_a_sidecar_for_each_and_one_known_by_its_preview_none(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 7, user="peter")
    faces.photos[1] = replace(faces.photos[1], source="preview")        # as of a raw file
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
    sha256 = faces.photos[0].sha256
    said = regions.export(library, tmp_path / "out", {
        "peter": {sha256: {"IMG_1.png"}}, "rosa": {sha256: {"of Peter.png", "a copy.png"}, "f" * 64: {"other.png"}}})
    assert {path.name for path in (tmp_path / "out" / "rosa").glob("*.xmp")} == {"of Peter.png.xmp", "a copy.png.xmp"}
    assert {path.name for path in (tmp_path / "out" / "peter").glob("*.xmp")} == {
        "IMG_1.png.xmp", *(f"{number:03d}.png.xmp" for number in range(2, 7))}
    assert said[-1].startswith("without a sidecar, since only Immich's preview can be read") and "1 photo, " in said[-1]


def test_sidecars_of_own_photos_lie_in_the_folders_in_which_the_photos_lie(tmp_path) -> None:
    faces, library = library_photos(tmp_path / "photos", [1, 2], 7, user=""), Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)      # p001/000.png and p002/000.png
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
        edit.name(run, "2", "Berta")
    regions.export(library, tmp_path / "out", {})
    for folder, name in (("p001", "Anna"), ("p002", "Berta")):
        found = {path.stem: path.read_text() for path in (tmp_path / "out" / "own" / folder).glob("*.xmp")}
        assert sorted(found) == [f"{number:03d}.png" for number in range(7)] and all(name in text for text in
                                                                                    found.values())


def test_a_share_that_is_away_takes_no_sidecar_away(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 7)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
    regions.export(library, tmp_path / "out", {})
    (tmp_path / "photos").rename(tmp_path / "away")
    with pytest.raises(Paused, match="mounted"):
        regions.export(library, tmp_path / "out", {})
    assert len(list((tmp_path / "out" / "anna").glob("*.xmp"))) == 7


def test_a_tiff_that_exif_turns_has_its_sides_as_they_are_stored(tmp_path) -> None:
    exif = Image.Exif()
    exif[render.ORIENTATION] = 6
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "a.tiff", exif=exif)
    photo = cache.Photo(str(tmp_path / "a.tiff"), files.sha256_of(tmp_path / "a.tiff"), width=300, height=400)
    face = np.zeros(1, cache.FACE)
    face["box"] = (10, 20, 40, 60)
    text = regions._texts({photo.sha256: regions.Seen(photo, [("Anna", face[0])])})[0][photo.sha256]
    (_, (x, y, width, height)), = read(text)
    assert 'stDim:w="400" stDim:h="300"' in text
    assert np.allclose([x * 400, y * 300, width * 400, height * 300], [40, 275, 40, 30], atol=0.01)

"""Photos as cameras, scanners and editors leave them, and faces where nobody expects them: a picture, or a reason."""

import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import MODEL, OPTIONS, SKIN, detect, face_of, person, proposal_of
from PIL import Image

from facesets.common import files
from facesets.export import outside, regions, swap
from facesets.formats import cache
from facesets.library.folder import Record, read_record
from facesets.library.members import Index
from facesets.library.run import changing
from facesets.library.store import Library
from facesets.operations import edit, outward

SIZE = (900, 1200)      # height, width
Save = Callable[[Path, np.ndarray], object]


def pillow(mode: str, **options: object) -> Save:
    return lambda path, bgr: Image.fromarray(bgr[..., ::-1]).convert(mode).save(path, **options)


def sixteen_bits(path: Path, bgr: np.ndarray) -> None:
    cv2.imwrite(str(path), bgr.astype(np.uint16) * 257)


def see_through(path: Path, bgr: np.ndarray) -> None:
    """As an editor leaves a cut-out: nothing is to be seen outside the middle."""
    alpha = np.zeros(bgr.shape[:2], np.uint8)
    alpha[100:800, 300:900] = 255
    cv2.imwrite(str(path), np.dstack([bgr, alpha]))


def turned_by_exif(path: Path, bgr: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(bgr)[..., ::-1].copy()).save(path, exif=exif, quality=95)


SAVED: dict[str, Save] = {
    "16bit.png": sixteen_bits, "16bit.tiff": sixteen_bits, "alpha.png": see_through, "palette.png": pillow("P"),
    "cmyk.jpg": pillow("CMYK", quality=95), "cmyk.tiff": pillow("CMYK"), "progressive.jpg": pillow(
        "RGB", progressive=True, quality=95), "turned.jpg": turned_by_exif, "animated.webp": pillow("RGB", quality=95)}
MIDDLE = (480.0, 330.0, 720.0, 570.0)
PLACES = {"upper left": (0.0, 0.0, 240.0, 240.0), "lower right": (960.0, 660.0, 1200.0, 900.0),
          "all of it": (6.0, 6.0, 1194.0, 894.0), "wider than high": (100.0, 300.0, 1100.0, 640.0),
          "a dot": (600.0, 400.0, 601.0, 401.0), "beside it": (1300.0, 100.0, 1500.0, 300.0),
          "nowhere": (-500.0, -400.0, -300.0, -200.0)}


def drawn(box: tuple[float, ...]) -> np.ndarray:
    bgr = np.full((*SIZE, 3), (70, 90, 60), np.uint8)
    x1, y1, x2, y2 = box
    cv2.ellipse(bgr, (round((x1 + x2) / 2), round((y1 + y2) / 2)), (round((x2 - x1) / 2), round((y2 - y1) / 2)),
                0, 0, 360, SKIN, -1)
    return bgr


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One person in a photo of each kind, in one of each place, and in two of a pixel and of none."""
    tmp_path = tmp_path_factory.mktemp("odd")
    folder, photos, boxes = tmp_path / "photos" / "p001", [], []
    folder.mkdir(parents=True)
    for name, save in SAVED.items():
        save(folder / name, drawn(MIDDLE))
        boxes.append(MIDDLE)
    for name, box in PLACES.items():
        cv2.imwrite(str(folder / f"{name}.png"), drawn(box) + len(boxes))       # two show nobody
        boxes.append(box)
    cv2.imwrite(str(folder / "pixel.png"), np.full((1, 1, 3), SKIN, np.uint8))
    (folder / "empty.jpg").write_bytes(b"")
    boxes += [(0.0, 0.0, 1.0, 1.0)] * 2
    for number, name in enumerate([*SAVED, *(f"{place}.png" for place in PLACES), "pixel.png", "empty.jpg"]):
        height, width = (1, 1) if name == "pixel.png" else SIZE
        photos.append(cache.Photo(str(folder / name), files.sha256_of(folder / name), "faces",
                                  taken_at=f"{2000 + number}-01-01T00:00:00", width=width, height=height, user="anna"))
    faces = np.zeros(len(photos), cache.FACE)
    faces["photo"], faces["box"] = np.arange(len(photos)), boxes
    faces["det_score"], faces["blur"], faces["face_short"], faces["quality"] = 0.9, 300, 240, 0.8
    whole = cache.Cache(MODEL, photos, faces, np.array([face_of(person(1), number) for number in range(len(photos))]),
                        np.full(len(photos), 20, np.float32))
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(whole), [whole], OPTIONS, min_faces=1)
    with changing(library, "name") as run:
        edit.name(run, "1", 'Zoë <"&\'> 😀')
    return library, Index([whole])


def shown(record: Record) -> dict[str, Path]:
    return {Path(face["photo"]).name: Path(face["file"]) for face in record.faces}


def test_a_photo_of_any_kind_gives_a_picture_and_what_cannot_a_reason(world) -> None:
    library, _ = world
    folder = library.root / "faceset_001"
    record = read_record(folder / "manifest.json")
    pictures = shown(record)
    assert set(pictures) == {*SAVED, "upper left.png", "lower right.png", "all of it.png", "wider than high.png"}
    for name, file in pictures.items():
        pixels = cv2.imread(str(folder / file))
        assert max(pixels.shape[:2]) == 512 and len(detect(pixels)[0]) == 1, name
        assert pixels.reshape(-1, 3).max(axis=1).min() > 40, name       # nothing is filled with black
    reasons = {Path(item["photo"]).name: item["reason"] for item in record.left_out}
    assert set(reasons) == {"a dot.png", "beside it.png", "nowhere.png", "pixel.png", "empty.jpg"}
    assert all(reasons.values())


@pytest.mark.parametrize("purpose", ["kohya", "onetrainer", "ai-toolkit", "frigate", "folders"])
def test_every_program_gets_what_such_photos_have(world, tmp_path, purpose) -> None:
    library, index = world
    for _ in range(2):
        said, = outward.export(library, [], tmp_path / "out", purpose, index.boxes)
    assert str(tmp_path / "out") in said
    found = [path for path in (tmp_path / "out").rglob("*.png") if "mask" not in str(path.relative_to(tmp_path))]
    assert found and all(min(cv2.imread(str(path)).shape[:2]) > 100 for path in found)


def test_every_photo_that_can_be_read_gets_a_sidecar_with_areas_inside_it(world, tmp_path) -> None:
    library, _ = world
    regions.export(library, tmp_path / "sidecars", {})
    texts = {path.name: path.read_text() for path in (tmp_path / "sidecars").rglob("*.xmp")}
    assert {f"{name}.xmp" for name in (*SAVED, "upper left.png")} <= set(texts) and "empty.jpg.xmp" not in texts
    for text in texts.values():
        areas = xml.dom.minidom.parseString(text.encode()).getElementsByTagName("mwg-rs:Area")
        for area in areas:
            values = [float(area.getAttribute(f"stArea:{side}")) for side in "xywh"]
            assert all(0 <= value <= 1 for value in values) and "nan" not in text


def test_no_person_gets_the_folder_that_frigate_keeps_for_itself() -> None:
    called = outside.names([Record("faceset_001", name="Train"), Record("faceset_002", name="trainer"),
                            Record("faceset_003", name="Zoë 😀/b"), Record("faceset_004", name="../..")])
    assert called == {"faceset_001": "Train faceset_001", "faceset_002": "trainer", "faceset_003": "Zoë 😀_b",
                      "faceset_004": "_"}

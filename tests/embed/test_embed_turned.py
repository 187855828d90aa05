"""Photos that lie on their side or upside down and do not say so: found, set right, and everybody else left alone."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import people
import pytest

from facesets.embed import decode, lanes, packs, pipeline, turning
from facesets.embed.analyser import Analyser
from facesets.embed.parts import Parts
from facesets.export import render
from facesets.export.looks import Looks
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.formats.boxes import pairs, turned, turned_boxes


@pytest.fixture(scope="module")
def analyser(shared) -> Analyser:
    return Analyser(packs.open_pack(str(shared / "models/insightface_small"), Path()))


@pytest.fixture(scope="module")
def library(shared, tmp_path_factory) -> tuple[list[Path], list[Path], list[int]]:
    """Forty labelled photos, the same with every third turned and saved without a word about it, and by how much."""
    folder, upright, turns = tmp_path_factory.mktemp("turned"), [], []
    paths = []
    for number, source in enumerate(sorted(shared.glob("photos/people/*/*.jpg"))[::21]):
        turn = (number // 3) % 3 + 1 if number % 3 == 0 else 0
        for place in ("upright", "lying"):
            (folder / place).mkdir(exist_ok=True)
            bgr = np.rot90(decode.read_upright(source), turn if place == "lying" else 0)
            path = folder / place / f"{number:03d}.jpg"
            cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 97])
            (upright if place == "upright" else paths).append(path)
        turns.append(turn)
    return upright, paths, turns


def embedded(analyser: Analyser, queue: queues.Queue, out: Path) -> tuple[cache.Cache, pipeline.Summary]:
    summary = pipeline.run(queue, out, analyser.model.sha256, lambda: analyser, pipeline.Options(save_photos=4))
    return cache.read(out), summary


@pytest.fixture(scope="module")
def found(analyser, library, tmp_path_factory) -> tuple[cache.Cache, cache.Cache, pipeline.Summary]:
    folder = tmp_path_factory.mktemp("caches")
    lying, summary = embedded(analyser, people.queue(library[1]), folder / "lying.npz")
    return embedded(analyser, people.queue(library[0]), folder / "upright.npz")[0], lying, summary


def test_turned_photos_are_set_right_and_upright_ones_left_alone(library, found):
    upright, lying, summary = found
    turns = np.array(library[2])
    told = np.array([photo.turn for photo in lying.photos])
    print(f"\n{(told == turns)[turns > 0].sum()} of {(turns > 0).sum()} turned ones right")
    assert (told == turns)[turns > 0].mean() >= 0.9
    assert not told[turns == 0].any() and not any(photo.turn for photo in upright.photos)
    assert summary.turned == np.count_nonzero(told)
    assert summary.with_faces + summary.noface + summary.errors == len(lying.photos)
    assert (summary.faces, summary.noface) == (len(lying.faces), sum(p.status == "noface" for p in lying.photos))


def test_boxes_and_landmarks_stay_in_the_frame_of_the_photo_and_the_embedding_is_the_upright_one(found):
    upright, lying, _ = found
    faces = 0
    for number, photo in enumerate(lying.photos):
        if not photo.turn:
            continue
        a, b = (np.flatnonzero(whole.faces["photo"] == number) for whole in (lying, upright))
        size = (photo.width, photo.height)
        boxes = turned_boxes(lying.faces["box"][a], photo.turn, size)
        for mine, its in pairs(boxes, upright.faces["box"][b], 0.5):
            faces += 1
            short = upright.faces["face_short"][b[its]]
            points = turned(lying.faces["landmarks"][a[mine]], photo.turn, size)
            assert np.abs(points - upright.faces["landmarks"][b[its]]).max() < 0.1 * short
            assert lying.embeddings[a[mine]] @ upright.embeddings[b[its]] > 0.95
            assert abs(lying.faces["roll"][a[mine]] - upright.faces["roll"][b[its]]) < 10
            assert abs(lying.faces["face_short"][a[mine]] - short) < 0.1 * short
    assert faces >= 10


def test_pictures_of_turned_photos_are_upright(analyser, found, tmp_path):
    _, lying, _ = found
    row = next(row for row, face in enumerate(lying.faces) if lying.photos[face["photo"]].turn == 1)
    photo, key = lying.photos[lying.faces["photo"][row]], cache.face_keys(lying)[row]
    x1, y1, x2, y2 = map(float, lying.faces["box"][row])
    wish = render.Wish(key, (x1, y1, x2, y2), embedding=lying.embeddings[row], turn=photo.turn)
    made = render.render({photo.path: [wish]}, tmp_path, Looks([analyser.detect], analyser.embed), 512, 0.5)[key]
    assert isinstance(made, tuple), made
    right, down = np.diff(analyser.detect(cv2.imread(str(made[0])))[2][0, :2], axis=0)[0]     # from eye to eye
    assert right > 3 * abs(down)


def test_a_cache_of_before_is_read_and_asked_once(analyser, library, tmp_path):
    out, queue = tmp_path / "old.npz", people.queue(library[1])
    old = lanes.as_cache(list(lanes.outcomes(queue.entries, analyser)), analyser.model)
    cache.write(out, old)
    with zipfile.ZipFile(out) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "queue.npy"}
    photos = json.loads(np.load(io.BytesIO(members["photos.npy"])).tobytes())
    assert not any(photos.pop("turn"))
    text = io.BytesIO()
    np.save(text, np.frombuffer(json.dumps(photos).encode(), np.uint8))
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in {**members, "photos.npy": text.getvalue()}.items():
            archive.writestr(name, data)
    assert cache.read(out).photos == old.photos
    after, summary = embedded(analyser, queue, out)
    assert summary.turned >= 10 and summary.done_before == len(queue.entries)
    assert sum(bool(photo.turn) for photo in after.photos) == summary.turned
    assert turning.unclear(Parts(out), queue) == {}


def test_what_was_forgotten_in_an_upright_photo_does_not_come_back(analyser, library, found, tmp_path):
    out, queue, whole = tmp_path / "c.npz", people.queue(library[0]), found[0]
    gone = np.array([number % 2 == 0 for number in whole.faces["photo"]])
    photos = [replace(photo, status="noface") if number % 2 == 0 and photo.status == "faces" else photo
              for number, photo in enumerate(whole.photos)]
    own = replace(queue, entries=tuple(replace(entry, asset_id="") for entry in queue.entries))
    cache.write(out, replace(whole, photos=photos, faces=whole.faces[~gone], embeddings=whole.embeddings[~gone],
                             norms=whole.norms[~gone], persons=[cache.Person()] * int((~gone).sum()), queue=""))
    assert len(turning.unclear(Parts(out), own)) >= len(photos) // 2
    after, summary = embedded(analyser, own, out)
    assert summary.turned == 0 and len(after.faces) == (~gone).sum()

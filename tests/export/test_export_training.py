"""Folders for trainers and other programs: read back by their rules, renewed without losing what a person did."""

import json
import shutil
import time
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from drawn import OPTIONS, SKIN, contents, detect, library_photos, measured, person, photo, proposal_of
from killing import killed

from facesets.common import files
from facesets.common.errors import Failure, Paused, UsageError
from facesets.export import outside, people, regions, swap, training
from facesets.formats import cache
from facesets.library.folder import MANIFEST, Record, read_record
from facesets.library.members import Index
from facesets.library.run import changing
from facesets.library.store import Library
from facesets.operations import edit, outward

SCALE = 3       # of drawn photos, so that a framing has pixels enough


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two people in 20 photos each of 1920 x 1440, and four where they stand side by side; one has a name."""
    folder = tmp_path_factory.mktemp("training")
    faces = library_photos(folder / "photos", [1, 2], 20, together=4)
    for item in faces.photos:
        pixels = cv2.imread(item.path)
        cv2.imwrite(item.path, cv2.resize(pixels, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST))
    faces.photos[:] = [replace(item, width=item.width * SCALE, height=item.height * SCALE) for item in faces.photos]
    faces.faces["box"] *= SCALE
    measured(faces)
    library = Library(folder / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "faceset_001", "Zoë Müller")
    return library, Index([faces])


def made(world, target: Path, purpose: str, **options) -> list[str]:
    library, index = world
    return outward.export(library, ["1"], target, purpose, index.boxes, **options)


def pairs(folder: Path) -> dict[str, tuple[np.ndarray, str]]:
    """As a trainer reads it: every image with the caption beside it."""
    return {path.stem: (cv2.imread(str(path)), path.with_suffix(".txt").read_text().strip())
            for path in sorted(folder.glob("*.png")) if "-masklabel" not in path.stem}


def test_kohya_reads_images_captions_and_masks_of_the_same_size(world, tmp_path) -> None:
    said = made(world, tmp_path, "kohya")
    folder = tmp_path / "Zoë Müller"
    config = tomllib.loads((folder / "dataset.toml").read_text())
    subset = config["datasets"][0]["subsets"][0]
    # its config_util.py refuses the whole file for a key that a subset with masks does not know
    assert set(subset) == {"image_dir", "conditioning_data_dir", "num_repeats"}
    found, masks = pairs(Path(subset["image_dir"])), Path(subset["conditioning_data_dir"])
    assert sorted(path.stem for path in masks.iterdir()) == sorted(found)      # nor one more
    assert len(found) == 20 and "20 pictures" in said[0]
    assert config["general"]["enable_bucket"] and config["general"]["bucket_no_upscale"]
    for name, (image, text) in found.items():
        mask = cv2.imread(str(masks / f"{name}.png"))
        assert mask.shape == image.shape and set(np.unique(mask)) <= set(range(256))
        assert min(image.shape[:2]) >= 512 and max(image.shape[:2]) <= 2048 and "\n" not in text
        assert text.startswith("zoemuller person, ") and text.split(", ")[2].isdecimal()


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """The manifest of one person in 80 photos that have every framing, and their faces."""
    faces = library_photos(tmp_path_factory.mktemp("tall"), [1], 80)
    faces.photos[:] = [replace(item, width=3000, height=5000) for item in faces.photos]
    faces.faces["box"] = (1300, 900, 1700, 1400)
    faces.faces["yaw"] = np.linspace(-5, 5, 80)
    return Record("faceset_001", faces=[
        {"face": key, "sha256": key[:64], "box": row["box"].tolist(), "quality": float(row["quality"]),
         "light": [0.5, 0.0], "taken_at": "2015-01-01"}
        for key, row in zip(cache.face_keys(faces), faces.faces, strict=True)]), faces


def test_the_three_framings_are_shared_out_where_the_photos_have_them_and_lie_inside_the_photo(tall) -> None:
    record, faces = tall
    shots = training.choose(record, faces, Index([faces]).boxes)
    counts = Counter(shot.framing for shot in shots)
    assert counts == {"close": 24, "half": 18, "full": 18} and len({shot.name for shot in shots}) == 60
    for shot in shots:
        x1, y1, x2, y2 = shot.window
        assert 0 <= x1 < x2 <= 3000 and 0 <= y1 < y2 <= 5000 and min(x2 - x1, y2 - y1) >= 512
    few = replace(record, faces=record.faces[:7])       # better a photo twice than too few
    assert len(training.choose(few, faces, Index([faces]).boxes)) == 15


def test_a_photo_keeps_its_framing_whatever_comes_and_one_that_was_deleted_makes_room_for_the_next(tall) -> None:
    record, faces = tall
    boxes = Index([faces]).boxes
    for before, after in ((50, 55), (7, 9), (80, 80)):
        first = {shot.name for shot in training.choose(replace(record, faces=record.faces[80 - before:]), faces, boxes)}
        gone = {name for name in sorted(first)[:4] if sum(name[:12] == other[:12] for other in first) == 1}
        shots = training.choose(replace(record, faces=record.faces[80 - after:]), faces, boxes, first - gone, gone)
        again = {shot.name for shot in shots}
        had = {name[:12] for name in first}
        assert {name for name in again if name[:12] in had} <= first - gone
        assert len(again) == len(shots) >= min(after - len(gone), 60) and len(again) >= min(len(first), 15)


def test_who_differs_from_those_that_are_there_is_taken_before_who_is_only_a_little_better(tall) -> None:
    record, faces = tall
    aside = replace(faces, faces=faces.faces.copy())
    aside.faces["yaw"][79] = 60
    last = replace(record, faces=[{**face, "quality": 0.9 - 0.001 * at} for at, face in enumerate(record.faces)])
    shots = training.choose(last, aside, Index([faces]).boxes)
    assert record.faces[79]["sha256"] in {shot.face["sha256"] for shot in shots}
    assert "nobody looks right" not in " ".join(training.report(last, Path("/nowhere"), shots))


def test_others_are_masked_not_painted(tmp_path) -> None:
    boxes = [(900, 400, 1200, 760), (1500, 420, 1780, 760)]
    sha256 = photo(tmp_path / "p001" / "photo.png", boxes, 7, (1600, 2400))
    row = np.zeros(2, cache.FACE)
    row["box"], row["quality"], row["face_short"] = boxes, 0.9, 280
    faces = cache.Cache(library_photos(tmp_path / "x", [1], 1).model,
                        [cache.Photo(str(tmp_path / "p001" / "photo.png"), sha256, "faces", width=2400, height=1600)],
                        row, np.array([person(1), person(2)]), np.full(2, 20, np.float32))
    library, first = Library(tmp_path / "library"), proposal_of(faces)
    one = first.facesets[0].faces[:1]
    swap.export(library, replace(first, facesets=(replace(first.facesets[0], faces=one),)), [faces], OPTIONS,
                min_faces=1)
    outward.export(library, [], tmp_path / "out", "onetrainer", Index([faces]).boxes)
    images = tmp_path / "out" / "faceset_001" / "images"
    concept, = json.loads((tmp_path / "out" / "faceset_001" / "concepts.json").read_text())
    assert Path(concept["path"]) == images and concept["text"]["prompt_source"] == "sample"
    whole = cv2.imread(str(tmp_path / "p001" / "photo.png"))
    seen = 0
    for name, (image, _) in pairs(images).items():
        mask = cv2.imread(str(images / f"{name}-masklabel.png"), cv2.IMREAD_GRAYSCALE)
        assert cv2.matchTemplate(whole, image, cv2.TM_SQDIFF).min() < 1e4        # the photo as it is
        discs = (np.abs(image.astype(int) - SKIN).max(axis=2) < 40).astype(np.uint8)
        _, _, stats, middles = cv2.connectedComponentsWithStats(discs)
        shown = [middle.round().astype(int) for middle, stat in zip(middles, stats, strict=True) if stat[4] > 5000][1:]
        values = sorted(int(mask[y, x]) for x, y in shown)
        assert values[-1] == 255
        if len(values) == 2:
            seen += 1
            assert values[0] == 0
    assert seen


def test_the_body_of_a_neighbour_is_masked_with_the_head_but_nothing_of_the_wanted_person() -> None:
    wanted, beside, child = (np.array(box, float) for box in
                             ((400, 200, 550, 400), (900, 220, 1050, 420), (440, 800, 520, 900)))
    mask = training._mask((0, 0, 1400, 1800), [beside, child], wanted, (1800, 1400))
    assert mask[320, 975] == mask[600, 975] == mask[1500, 1150] == 0        # head, chest and legs of who stands beside
    assert (mask[200:700, 300:650] == 1).all() and mask[1500, 350] == 1     # ours, above the child's head and below it
    assert mask[850, 480] == 0 and mask[600, 1300] == 1                     # the child in front; nobody
    distant = training._mask((0, 0, 1400, 1800), [np.array([900, 220, 920, 246.0])], wanted, (1800, 1400))
    assert distant[300, 910] == 0 and distant[700, 910] == 1                # somebody small ends where the feet are


def test_a_folder_is_renewed_and_what_a_person_did_in_it_stays(world, tmp_path) -> None:
    made(world, tmp_path, "kohya")
    images = tmp_path / "Zoë Müller" / "images"
    first, second, *_ = sorted(images.glob("*.png"))
    first.with_suffix(".txt").write_text("by hand")
    second.with_suffix(".txt").unlink()
    (images / "mine.png").write_bytes(b"mine")
    made(world, tmp_path, "kohya", caption="{trigger}, {year}", kind="woman")
    assert first.with_suffix(".txt").read_text() == "by hand" and (images / "mine.png").read_bytes() == b"mine"
    assert second.with_suffix(".txt").read_text().startswith("zoemuller, 20")
    made(world, tmp_path, "onetrainer")     # masks go beside the images now, and not a file of kohya's is left
    assert not list((tmp_path / "Zoë Müller").glob("masks/*")) and not (tmp_path / "Zoë Müller/dataset.toml").exists()
    assert first.with_suffix(".txt").read_text() == "by hand"
    assert not (tmp_path / "Zoë Müller" / outside.SCRATCH).exists()


def test_killed_at_any_step_the_next_export_renews_the_folder_all_the_same(tmp_path) -> None:
    def export(folder: Path, *names: str, text: str) -> None:
        with outside.updating(folder) as scratch:
            for name in names:
                files.write_bytes(scratch / name, f"{text} {name}".encode())

    kills, struck = 0, True
    while struck:
        folder = tmp_path / str(kills)
        export(folder, "images/a.txt", "images/b.txt", "old.txt", text="first")
        (folder / "images" / "b.txt").write_text("by hand")
        kills += 1
        struck = killed(lambda folder=folder: export(folder, "images/a.txt", "images/b.txt", "new.txt", text="second"),
                        kills)
        export(folder, "images/a.txt", "images/b.txt", "new.txt", text="third")
        found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("[!.]*")
                 if path.is_file()}
        assert found == {"images/a.txt": "third images/a.txt", "images/b.txt": "by hand", "new.txt": "third new.txt"}
    assert kills > 8


def test_a_picture_deleted_by_hand_stays_away_with_its_mask_and_caption_and_all_of_them_come_back(
        world, tmp_path) -> None:
    made(world, tmp_path, "kohya")
    images, masks = tmp_path / "Zoë Müller" / "images", tmp_path / "Zoë Müller" / "masks"
    first, second, *_ = sorted(images.glob("*.png"))
    for path in (first, first.with_suffix(".txt"), masks / first.name, second):
        path.unlink()
    for _ in range(2):
        assert "18 pictures" in made(world, tmp_path, "kohya")[0]
        stems = {path.stem for path in images.glob("*.png")}
        assert len(stems) == 18 and not stems & {first.stem, second.stem}
        assert stems == {path.stem for path in masks.iterdir()} == {path.stem for path in images.glob("*.txt")}
    for path in images.glob("*"):
        path.unlink()
    assert "20 pictures" in made(world, tmp_path, "kohya")[0]


def test_a_caption_by_hand_keeps_its_picture_and_mask_when_the_face_goes_and_those_are_the_trainers_of_now(
        tmp_path) -> None:
    def export(*names: str) -> set[str]:
        with outside.updating(tmp_path) as scratch:
            for name in names:
                files.write_bytes(scratch / name, name.encode())
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("[!.]*") if path.is_file()}
    kohya = [f"{where}/{stem}{ending}" for stem in "ab" for where, ending in (
        ("images", ".png"), ("images", ".txt"), ("masks", ".png"))]
    export(*kohya)
    (tmp_path / "images" / "b.txt").write_text("by hand")
    assert export(*kohya[:3]) == set(kohya)
    onetrainer = [name.replace("masks/a", "images/a-masklabel").replace("masks/b", "images/b-masklabel")
                  for name in kohya]
    assert export(*onetrainer) == set(onetrainer) and (tmp_path / "images" / "b.txt").read_text() == "by hand"
    (tmp_path / "images" / "a.png").write_text("retouched")
    assert export(*kohya) == set(kohya) and (tmp_path / "images" / "a.png").read_text() == "retouched"


@pytest.mark.parametrize("where", ["images", "masks"])
def test_a_picture_or_mask_changed_by_hand_keeps_what_belongs_to_it_when_the_face_goes(tmp_path, where) -> None:
    def export(*stems: str, text: str) -> None:
        with outside.updating(tmp_path) as scratch:
            for stem in stems:
                for name in (f"images/{stem}.png", f"images/{stem}.txt", f"masks/{stem}.png"):
                    files.write_bytes(scratch / name, f"{text} {name}".encode())

    def there() -> set[str]:
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("[!.]*") if path.is_file()}
    export("a", "b", "c", text="first")
    everything = there()
    (tmp_path / where / "b.png").write_text("retouched")
    export("a", "b", "c", text="other")         # and pictures and masks of one size stay together
    other = {"images": "masks", "masks": "images"}[where]
    assert (tmp_path / other / "b.png").read_text() == f"first {other}/b.png"
    for _ in range(2):
        export("a", text="second")
        assert there() == {name for name in everything if "c." not in name}
    (tmp_path / where / "b.png").unlink()
    (tmp_path / other / "b.png").unlink()
    export("a", text="third")
    assert there() == {name for name in everything if "a." in name}


def test_two_exports_into_one_folder_do_not_mix_two_people(world, tmp_path) -> None:
    library, index = world
    faces = library_photos(tmp_path / "photos", [3], 7)
    other, out = Library(tmp_path / "other"), tmp_path / "out"
    swap.export(other, proposal_of(faces), [faces], OPTIONS)
    with outside.alone(other.root, out, {}), pytest.raises(Paused, match="at work here"):
        outward.export(library, [], out, "folders", index.boxes)
    assert not (out / outside.LOCK).exists()
    outward.export(library, [], out, "folders", index.boxes)
    (out / "faceset_002").rename(out / "faceset_001")           # where the other's first one goes, too
    before = contents(out)
    with pytest.raises(Failure, match=f"faceset_001 was written from the library {library.root}"):
        outward.export(other, [], out, "folders", Index([faces]).boxes)
    assert contents(out) == before and not (other.root / outside.REMEMBERED).exists()
    outward.export(library, [], out, "folders", index.boxes)


def test_a_library_that_was_moved_goes_on_with_its_folders(tmp_path) -> None:
    faces, library = library_photos(tmp_path / "photos", [1], 7), Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    for place in ("library", "moved"):
        if place != "library":
            library.root.rename(tmp_path / place)
        outward.export(Library(tmp_path / place), [], tmp_path / "out", "folders", Index([faces]).boxes)
    assert len(list((tmp_path / "out" / "faceset_001").glob("*.png"))) == 7


def test_a_damaged_list_says_what_helps(world, tmp_path) -> None:
    library, index = world
    outward.export(library, ["1"], tmp_path, "folders", index.boxes)
    listed = tmp_path / "Zoë Müller" / outside.LISTED
    for text in ("{", '{"schema": 1, "files": ["a"]}', '{"schema": 1, "files": {"../a": "b"}}'):
        listed.write_text(text)
        with pytest.raises(Failure, match="remove it, and what was written there before stays") as said:
            outward.export(library, ["1"], tmp_path, "folders", index.boxes)
        assert "again" not in str(said.value)
    listed.unlink()
    outward.export(library, ["1"], tmp_path, "folders", index.boxes)


def test_what_is_missing_is_said(world, tmp_path) -> None:
    said = " ".join(made(world, tmp_path, "ai-toolkit"))
    assert "nobody looks left" in said and "no full body photo" in said
    folder = tmp_path / "Zoë Müller"
    dataset, = yaml.safe_load((folder / "dataset.yaml").read_text())
    assert dataset == {"folder_path": str(folder / "images"), "mask_path": str(folder / "masks"), "caption_ext": "txt",
                       "mask_min_value": 0.0, "default_caption": "zoemuller person", "resolution": [512, 768, 1024]}


def test_that_nothing_is_of_the_last_years_is_said(tall, tmp_path) -> None:
    record, faces = tall
    shots = training.choose(record, faces, Index([faces]).boxes)
    for shot in shots:
        files.write_bytes(tmp_path / "images" / f"{shot.name}.png", b"")
    assert "nothing since 2015" in training.report(record, tmp_path, shots)[0]
    new = [replace(shot, face={**shot.face, "taken_at": f"{time.localtime().tm_year}-01-01"}) for shot in shots]
    assert "nothing since" not in training.report(record, tmp_path, new)[0]


@pytest.mark.parametrize("name", ["Zoë 😀", 'a "b" \\ c'])
def test_a_configuration_is_read_whatever_the_folder_is_called(name) -> None:
    path, text = training.CONFIGURATIONS["kohya"](Path("/x") / name, "t", "person")
    assert path == "dataset.toml"
    assert tomllib.loads(text)["datasets"][0]["subsets"][0]["image_dir"] == f"/x/{name}/images"


@pytest.mark.parametrize(("folder", "wsl", "shown"), [
    ("/mnt/d/training/Anna", "Ubuntu", "D:\\training\\Anna\\images"),
    ("/home/me/Anna", "Ubuntu", "/home/me/Anna/images"), ("/mnt/d/Anna", "", "/mnt/d/Anna/images")])
def test_on_a_drive_of_windows_the_configurations_name_it_as_windows_does(folder, wsl, shown, monkeypatch) -> None:
    monkeypatch.delenv("WSL_DISTRO_NAME", raising=False)
    if wsl:
        monkeypatch.setenv("WSL_DISTRO_NAME", wsl)
    texts = {trainer: text for trainer in training.CONFIGURATIONS
             for _, text in [training.CONFIGURATIONS[trainer](Path(folder), "t", "person")]}
    assert tomllib.loads(texts["kohya"])["datasets"][0]["subsets"][0]["image_dir"] == shown
    assert json.loads(texts["onetrainer"])[0]["path"] == yaml.safe_load(texts["ai-toolkit"])[0]["folder_path"] == shown


def test_frigate_and_folders_get_one_folder_a_name(world, tmp_path) -> None:
    library, index = world
    for purpose, least in (("frigate", 20), ("folders", 20)):
        outward.export(library, [], tmp_path / purpose, purpose, index.boxes)
        assert {path.name for path in (tmp_path / purpose).iterdir()} == {"Zoë Müller", "faceset_002"}
        pictures = list((tmp_path / purpose / "faceset_002").glob("*.png"))
        assert least <= len(pictures) <= 30
    tight = cv2.imread(str(next((tmp_path / "frigate" / "Zoë Müller").glob("*.png"))))
    assert 1.2 < tight.shape[0] / (160 * SCALE) < 1.4


def test_a_share_that_is_away_empties_no_folder_that_was_made_before(world, tmp_path) -> None:
    library, index = world
    for purpose in ("kohya", "frigate"):
        outward.export(library, [], tmp_path / purpose, purpose, index.boxes)
        before = {path: path.read_bytes() for path in (tmp_path / purpose).rglob("*") if path.is_file()}
        photos = library.root.parent / "photos"
        photos.rename(photos.with_name("away"))
        try:
            with pytest.raises(Paused, match="mounted"):
                outward.export(library, [], tmp_path / purpose, purpose, index.boxes)
        finally:
            photos.with_name("away").rename(photos)
        assert before == {path: path.read_bytes() for path in (tmp_path / purpose).rglob("*") if path.is_file()}


@pytest.mark.parametrize("purpose", ["kohya", "onetrainer", "frigate"])
def test_a_photo_that_was_turned_cropped_or_shrunk_since_is_left_out_and_that_is_said(world, tmp_path, purpose) -> None:
    library, index = world
    outward.export(library, ["1"], tmp_path / "before", purpose, index.boxes)
    photos = [item for item in index.caches[0].photos if "p001" in item.path][:6]
    kept = [Path(item.path).read_bytes() for item in photos]
    pixels = cv2.imread(photos[0].path)
    try:
        for item, other in zip(photos, (np.rot90(pixels), pixels[:500, :500], cv2.resize(pixels, (160, 120)),
                                        np.rot90(pixels, 2), pixels[::-1] // 2), strict=False):
            cv2.imwrite(item.path, other)
        with open(photos[5].path, "ab") as file:
            file.write(b"as of exiftool")
        said = outward.export(library, ["1"], tmp_path / "after", purpose, index.boxes)
    finally:
        for item, data in zip(photos, kept, strict=True):
            Path(item.path).write_bytes(data)
    assert said[-1].startswith("5 photos have changed since, e.g. ") and said[-1].endswith("stage and embed again")
    pictures = [{path.name for path in (tmp_path / when).rglob("*.png")} for when in ("before", "after")]
    changed = {item.sha256[:12] for item in photos[:5]}
    assert pictures[1] == {name for name in pictures[0] if name[:12] not in changed} < pictures[0]


@pytest.fixture
def small(tmp_path):
    """Two people in 22 photos each, of which the first is called Anna."""
    faces, library = measured(library_photos(tmp_path / "photos", [1, 2], 22)), Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "name") as run:
        edit.name(run, "1", "Anna")
    return library, Index([faces])


@pytest.mark.parametrize("purpose", ["folders", "frigate"])
def test_a_picture_is_called_by_its_photo_so_what_was_done_to_it_holds_when_the_order_shifts(
        small, tmp_path, purpose) -> None:
    library, index = small
    out = tmp_path / "out"
    said = outward.export(library, ["1"], out, purpose, index.boxes)
    first = {path.name: path.read_bytes() for path in (out / "Anna").glob("*.png")}
    whole = read_record(library.root / "faceset_001" / MANIFEST).faces[0]["sha256"]
    best = whole[:12]
    deleted, retouched, *_ = sorted(name for name in first if best not in name)
    (out / "Anna" / deleted).unlink()
    (out / "Anna" / retouched).write_bytes(b"retouched")
    times = {path.name: path.stat().st_mtime_ns for path in (out / "Anna").glob("*.png")}
    with changing(library, "not-this") as run:
        edit.not_this(run, "1", [whole], OPTIONS)
    for _ in range(2):
        said = outward.export(library, ["1"], out, purpose, index.boxes)
        now = {path.name: path for path in (out / "Anna").glob("*.png")}
        assert said[0].endswith(f"{len(now)} pictures") and said[1].startswith("1 of yours lie where ours would")
        assert len(now) == 20        # the deleted one made room, if it could
        assert deleted not in now and not any(best in name for name in now)
        assert now[retouched].read_bytes() == b"retouched"
        assert sum(path.read_bytes() == first[retouched] for path in now.values()) == 0
        assert all(path.stat().st_mtime_ns == times[name] for name, path in now.items() if name in times)
        assert all(path.stat().st_mode & 0o77 == 0 for path in now.values())


def test_the_best_are_taken(small, tmp_path) -> None:
    library, index = small
    outward.export(library, ["2"], tmp_path / "out", "folders", index.boxes)
    faces = read_record(library.root / "faceset_002" / MANIFEST).faces
    taken = sorted(path.stem for path in (tmp_path / "out" / "faceset_002").glob("*.png"))
    assert len(faces) == 22
    assert taken == [f"{rank:02d}-{face['sha256'][:12]}" for rank, face in enumerate(faces[:20], 1)]
    record = Record("x", faces=[{"sha256": f"{at:064}", "quality": 0.9 - 0.02 * at, "light": [0.5, 0]} for at in
                                range(40)])
    assert [face["quality"] for face in people.in_order(record, tmp_path)][:30] == [
        face["quality"] for face in record.faces[:30]]


def test_under_a_new_name_the_folder_comes_along_with_what_was_done_in_it(small, tmp_path) -> None:
    library, index = small
    out = tmp_path / "out"
    outward.export(library, ["1"], out, "folders", index.boxes)
    deleted, retouched, *_ = sorted((out / "Anna").glob("*.png"))
    deleted.unlink()
    retouched.write_bytes(b"retouched")
    with changing(library, "name") as run:
        edit.name(run, "1", "Berta")
    outward.export(library, ["1"], out, "folders", index.boxes)
    assert [path.name for path in out.iterdir()] == ["Berta"]
    assert not (out / "Berta" / deleted.name).exists() and (out / "Berta" / retouched.name).read_bytes() == b"retouched"


def exchanged(library, index, out):
    """Two were exported into `out`, something was done in each folder, and then their names were exchanged."""
    outward.export(library, [], out, "folders", index.boxes)
    (out / "Anna" / "mine.txt").write_text("of 1")
    next((out / "faceset_002").glob("*.png")).write_bytes(b"of 2")
    before = {folder: contents(out / folder) for folder in ("Anna", "faceset_002")}
    with changing(library, "name") as run:
        edit.name(run, "1", "Berta")
        edit.name(run, "2", "Anna")
    return before


@pytest.mark.parametrize("others", [("1", "2"), ("2", "1"), ("1",), ("2",)])
def test_two_who_exchange_their_names_exchange_their_folders_with_what_was_done_in_them(
        small, tmp_path, others) -> None:
    library, index = small
    out = tmp_path / "out"
    before = exchanged(library, index, out)
    outward.export(library, others, out, "folders", index.boxes)
    assert {path.name for path in out.iterdir()} == {"Anna", "Berta"}
    assert contents(out / "Berta") == before["Anna"] and contents(out / "Anna") == before["faceset_002"]


@pytest.mark.parametrize("purpose", ["kohya", "folders"])
def test_a_face_that_is_not_hers_any_more_goes_whatever_was_done_to_its_picture(world, tmp_path, purpose) -> None:
    library, index = world
    outward.export(library, ["2"], tmp_path / "out", purpose, index.boxes)
    folder = tmp_path / "out" / "faceset_002"
    first, second, *_ = sorted(folder.rglob("images/*.png" if purpose == "kohya" else "*.png"))
    first.write_bytes(b"retouched")
    changed = [first]
    if purpose == "kohya":
        second.with_suffix(".txt").write_text("by hand")
        changed.append(second.with_suffix(".txt"))
    stems = {outside.photo_of(path.stem) for path in changed}
    whole = [item.sha256 for item in index.caches[0].photos if item.sha256[:12] in stems]
    with changing(library, "not-this") as run:
        edit.not_this(run, "2", whole, OPTIONS)
    try:
        said = outward.export(library, ["2"], tmp_path / "out", purpose, index.boxes)
        assert said[0].startswith(f"{len(changed)} that you had changed went, since the face is not hers any more")
        assert not [path for path in folder.rglob("*") if outside.photo_of(path.stem) in stems]
    finally:
        library.undo()
    outward.export(library, ["2"], tmp_path / "out", purpose, index.boxes)
    assert {outside.photo_of(path.stem) for path in folder.rglob("*.png")} >= stems


def test_a_configuration_by_hand_that_names_a_folder_of_an_earlier_name_is_said(world, tmp_path) -> None:
    library, index = world
    outward.export(library, ["2"], tmp_path, "kohya", index.boxes)
    config = tmp_path / "faceset_002" / "dataset.toml"
    config.write_text(config.read_text().replace("1024", "768"))
    assert "names another folder" not in " ".join(outward.export(library, ["2"], tmp_path, "kohya", index.boxes))
    with changing(library, "name") as run:
        edit.name(run, "2", "Berta")
    try:
        said = outward.export(library, ["2"], tmp_path, "kohya", index.boxes)
    finally:
        library.undo()
    assert f"{tmp_path / 'Berta' / 'dataset.toml'} is yours and names another folder; change it" in said


def test_killed_while_two_exchange_their_folders_the_next_export_has_them_right(small, tmp_path) -> None:
    library, index = small
    out = tmp_path / "out"
    before = exchanged(library, index, out)
    kills, struck, called = 0, True, outside.names(library.manifest().facesets)
    shutil.copytree(out, tmp_path / "kept", symlinks=True)
    while struck:
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "kept", out)
        kills += 1
        struck = killed(lambda: outside.settle(library.root, out, called), kills)
        outward.export(library, [], out, "folders", index.boxes)
        assert {path.name for path in out.iterdir()} == {"Anna", "Berta"}
        assert contents(out / "Berta") == before["Anna"] and contents(out / "Anna") == before["faceset_002"]
    assert kills > 4


def test_a_copy_of_a_folder_beside_it_is_a_persons_own(small, tmp_path) -> None:
    library, index = small
    out = tmp_path / "out"
    outward.export(library, ["1"], out, "folders", index.boxes)
    for name in ("Anna-v1", "Ann"):
        shutil.copytree(out / "Anna", out / name)
    (out / "locked").mkdir(mode=0)
    before = {name: contents(out / name) for name in ("Anna-v1", "Ann")}
    for new in ("Anna", "Zoë", ""):
        if new:
            with changing(library, "name") as run:
                edit.name(run, "1", new)
        else:
            with changing(library, "drop") as run:
                edit.drop(run, "1")
        said = outward.export(library, [], out, "folders", index.boxes)
        assert not any("is yours" in line for line in said)
        assert {path.name for path in out.iterdir()} - {"faceset_002", "locked"} == {*before, *([new] if new else [])}
        assert all(contents(out / name) == data for name, data in before.items())


def test_what_was_done_for_somebody_who_was_dropped_twice_is_kept_twice(small, tmp_path) -> None:
    library, index = small
    for text in ("one", "two"):
        with changing(library, "name") as run:
            edit.name(run, "1", "Anna")
            edit.name(run, "2", "Berta")
        outward.export(library, [], tmp_path, "folders", index.boxes)
        (tmp_path / "Anna" / "mine.txt").write_text(text)
        with changing(library, "drop") as run:
            edit.drop(run, "1")
            edit.name(run, "2", "Anna")
        outward.export(library, [], tmp_path, "folders", index.boxes)
        library.undo()
    kept = {path.parent.name: path.read_text() for path in tmp_path.glob("*/mine.txt")}
    assert kept == {"was faceset_001": "one", "was faceset_001 2": "two"}


def test_a_picture_that_was_deleted_stays_away_also_where_all_others_were_on_their_way_at_a_kill(tmp_path) -> None:
    def export(*names: str) -> None:
        with outside.updating(tmp_path / "out") as scratch:
            for name in names:
                files.write_bytes(scratch / f"{name * 12}.png", b"picture")
    kills, struck = 0, True
    while struck:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        export("a", "b", "c")
        (tmp_path / "out" / f"{'b' * 12}.png").unlink()
        kills += 1
        struck = killed(lambda: export("d", "e"), kills)
        assert "b" * 12 in outside.handwork(tmp_path / "out")[1]
    assert kills > 5


def test_where_a_folder_of_the_new_name_is_a_persons_own_hers_lies_beside_it(small, tmp_path) -> None:
    library, index = small
    outward.export(library, ["1"], tmp_path / "out", "folders", index.boxes)
    deleted, *_ = (tmp_path / "out" / "Anna").glob("*.png")
    deleted.unlink()
    before = contents(tmp_path / "out" / "Anna")
    (tmp_path / "out" / "Clara").mkdir()
    with changing(library, "name") as run:
        edit.name(run, "1", "Clara")
    for _ in range(2):
        said = outward.export(library, ["1"], tmp_path / "out", "folders", index.boxes)
        now = contents(tmp_path / "out" / "Clara faceset_001")
        assert before.items() <= now.items() and deleted.name not in now
        assert not list((tmp_path / "out" / "Clara").iterdir())
        assert said[0] == f"{tmp_path / 'out' / 'Clara'} is yours, so the folder of faceset_001 is called otherwise"


def test_the_folder_of_a_faceset_that_is_none_any_more_goes_at_the_next_export(small, tmp_path) -> None:
    library, index = small
    out = tmp_path / "out"
    outward.export(library, [], out, "folders", index.boxes)
    (out / "of mine").mkdir()
    with changing(library, "drop") as run:
        edit.drop(run, "faceset_002")
    said = outward.export(library, ["1"], out, "folders", index.boxes)
    assert said[0] == f"{out / 'faceset_002'} is taken away, since faceset_002 is no faceset any more"
    assert {path.name for path in out.iterdir()} == {"Anna", "of mine"}
    library.undo()
    outward.export(library, [], out, "folders", index.boxes)
    assert {path.name for path in out.iterdir()} == {"Anna", "faceset_002", "of mine"}
    (out / "Anna" / "mine.txt").write_text("mine")
    with changing(library, "drop") as run:
        edit.drop(run, "faceset_001")
        edit.drop(run, "faceset_002")
    said = outward.export(library, [], out, "folders", index.boxes)
    assert said == [f"{out / 'Anna'} is taken away, since faceset_001 is no faceset any more; what you changed or put "
                    f"there is in {out / 'Anna'}",
                    f"{out / 'faceset_002'} is taken away, since faceset_002 is no faceset any more"]
    assert contents(out) == {"Anna/mine.txt": b"mine"}


def test_a_copy_of_a_library_leaves_what_the_first_one_wrote(small, tmp_path) -> None:
    library, index = small
    out = tmp_path / "out"
    outward.export(library, [], out, "folders", index.boxes)
    before = contents(out)
    copy = Library(tmp_path / "copy")
    shutil.copytree(library.root, copy.root)
    with changing(copy, "name") as run:
        edit.name(run, "1", "Berta")
    outward.export(copy, ["1"], out, "folders", index.boxes)
    assert {name: data for name, data in contents(out).items() if "Berta" not in name} == before
    said, = outside.forget(copy.root, {"faceset_002"}, dry_run=False)
    assert said.startswith("what was exported of others stays")
    assert {name: data for name, data in contents(out).items() if "Berta" not in name} == before


def test_while_the_library_changes_nothing_is_exported(small, tmp_path) -> None:
    library, index = small
    with library.locked("a review"):
        for act in (lambda: outward.export(library, [], tmp_path / "out", "folders", index.boxes),
                    lambda: regions.export(library, tmp_path / "out", {})):
            with pytest.raises(Paused, match=r"a review .* is at work"):
                act()
    assert not (tmp_path / "out").exists()


def test_a_word_that_captions_do_not_know_is_refused(small, tmp_path) -> None:
    library, index = small
    with pytest.raises(UsageError, match=r"not \{clas\}$"):
        outward.export(library, [], tmp_path / "out", "kohya", index.boxes, caption="{trigger}, {clas}")


def test_sidecars_and_pictures_of_a_person_do_not_take_each_others_folder(small, tmp_path) -> None:
    library, index = small                     # whose photos are of a user "anna"
    with changing(library, "name") as run:
        edit.name(run, "1", "anna")
    outward.export(library, ["1"], tmp_path / "a", "folders", index.boxes)
    regions.export(library, tmp_path / "b", {})
    for act, out, what in ((lambda: regions.export(library, tmp_path / "a", {}), "a", "a person's pictures"),
                           (lambda: outward.export(library, ["1"], tmp_path / "b", "folders", index.boxes), "b",
                            "sidecars")):
        before = contents(tmp_path / out)
        with pytest.raises(Failure, match=f"{out}/anna holds {what} of an earlier export; name another --out"):
            act()
        assert contents(tmp_path / out) == before


@pytest.mark.parametrize("purpose", ["kohya", "frigate"])
def test_a_person_of_whom_many_photos_were_deleted_is_exported_all_the_same(small, tmp_path, purpose) -> None:
    library, index = small
    for item in index.caches[0].photos[:9]:
        Path(item.path).unlink()
    said = outward.export(library, ["1"], tmp_path / "out", purpose, index.boxes)
    assert "pictures" in said[0]
    assert purpose != "frigate" or len(list((tmp_path / "out" / "Anna").glob("*.png"))) == 13


def test_a_photo_on_its_side_is_cut_upright_and_a_large_one_brought_down(tmp_path) -> None:
    faces = library_photos(tmp_path / "photos", [1], 7)
    for number, item in enumerate(faces.photos):
        upright = np.full((3200, 2400, 3), 40 + number, np.uint8)
        cv2.ellipse(upright, (1200, 900), (500, 500), 0, 0, 360, SKIN, -1)
        upright[:300] = 200                     # the sky
        cv2.circle(upright, (1000, 700), 60, (0, 0, 0), -1)         # an eye
        cv2.imwrite(item.path, np.rot90(upright))
        faces.photos[number] = replace(item, width=3200, height=2400, turn=1)
        faces.faces["box"][number] = (400, 700, 1400, 1700)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(measured(faces)), [faces], OPTIONS)
    for purpose in ("kohya", "frigate"):
        outward.export(library, [], tmp_path / purpose, purpose, Index([faces]).boxes)
    for path in (tmp_path / "kohya" / "faceset_001" / "images").glob("*.png"):
        image = cv2.imread(str(path))
        assert (image[5] > 150).all() and image[image.shape[0] // 2].max(axis=1).mean() > 90
        assert max(image.shape[:2]) <= 2048
    made = {path.stem: cv2.imread(str(path)) for path in (tmp_path / "frigate" / "faceset_001").glob("*.png")}
    assert len(made) == 7 and all(len(detect(image)[0]) == 1 for image in made.values())
    for image in made.values():
        y, x = (np.argwhere(image.max(axis=2) < 9).mean(axis=0) / image.shape[:2])
        assert y < 0.45 and x < 0.45
    assert max(max(cv2.imread(str(path)).shape) for path in (tmp_path / "kohya").rglob("images/*.png")) == 2048


def test_two_people_of_one_name_never_share_a_folder_however_they_are_exported(world, tmp_path) -> None:
    library, index = world
    with changing(library, "name") as run:
        edit.name(run, "faceset_002", "zoë müller")
    try:
        for one in ("faceset_001", "faceset_002"):
            outward.export(library, [one], tmp_path, "folders", index.boxes)
        assert {path.name for path in tmp_path.iterdir()} == {"Zoë Müller faceset_001", "zoë müller faceset_002"}
    finally:
        (library.root / "faceset_002" / "NAME.txt").unlink()
    assert outside.names([Record("faceset_001", name="faceset_002"), Record("faceset_002")]) == {
        "faceset_001": "faceset_002 faceset_001", "faceset_002": "faceset_002"}


@pytest.mark.parametrize(("name", "file"), [
    ("Anna", "Anna"), ("a/b: c?", "a_b_ c_"), (" . ", ""), ("con", "_con"), ("x" * 300, "x" * 120),
    ("é" * 100, "é" * 60), ("..", ""), ("a\u202eb\x07", "a\u202eb_")])
def test_a_name_becomes_a_folder_on_every_system(name, file) -> None:
    assert outside.clean(name) == file

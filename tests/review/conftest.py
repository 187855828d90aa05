"""A library of drawn people with something of everything that a review asks about, and a review of it that is open."""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from busy import LIMIT
from drawn import OPTIONS, face_of, library_photos, person

from facesets.export import swap
from facesets.formats import cache
from facesets.formats.cache import short_key
from facesets.formats.proposal import Face, Group, Proposal
from facesets.library.store import Library
from facesets.review.desk import NAME, Desk
from facesets.review.holdings import Holdings
from facesets.review.server import Server

EACH = 8
# faceset -> who its faces are: a wrong face, one person in two, two people in one, two who look alike, nobody's
WHO = {1: "Ada Ada Ada Ada Ada Ada Ada Gil", 2: "Bea " * 8, 3: "Bea " * 8, 4: "Cleo Cleo Cleo Cleo Cleo Dora Dora Dora",
       5: "Emil " * 8, 6: "Finn " * 8, 7: "junk " * 8}
LOOSE = "Ada Ada Hugo Hugo Hugo Hugo Hugo Hugo"      # a face between two, one left over, a thin group
PEOPLE = {name: seed for seed, name in enumerate(
    ("Ada", "Bea", "Cleo", "Dora", "Emil", "Finn", "Gil", "Hugo", "junk"), 1)}
LIKE = {"Finn": ("Emil", 0.8), "Gil": ("Ada", 0.75), "Dora": ("Cleo", 0.5)}     # whom they look like, and how much


@dataclass
class Lab:
    library: Library
    faces: cache.Cache
    made: Proposal
    truth: dict[str, str]       # short key -> who
    opened: list[tuple[Server, threading.Thread]] = field(default_factory=list)

    def holdings(self) -> Holdings:
        return Holdings(self.library, [self.faces], [self.made], [], OPTIONS)

    def desk(self) -> Desk:
        return Desk(self.library.root / NAME, self.holdings())

    def serve(self, idle: float = 600, clock: Callable[[], float] | None = None) -> Server:
        held = self.holdings()
        desk = Desk(self.library.root / NAME, held)
        server = Server(desk, held, idle, **({"clock": clock} if clock else {}))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        self.opened.append((server, thread))
        return server

    def close(self) -> None:
        for server, thread in self.opened:
            server.ended = True
            thread.join(LIMIT)
            assert not thread.is_alive(), "the server does not end"
        self.opened.clear()

    def who(self) -> dict[str, list[str]]:
        """Canonical faceset -> who its faces with a picture are."""
        read = self.holdings().read()
        return {folder: sorted({self.truth[face] for face in item.faces}) for folder, item in read.people.items()}


@pytest.fixture(scope="session")
def lab_template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, cache.Cache, list[str]]:
    place = tmp_path_factory.mktemp("review")
    faces = library_photos(place / "photos", list(range(1, 9)), EACH)
    names = [name for who in (*WHO.values(), LOOSE) for name in who.split()]
    for row, name in enumerate(names):
        base, share = LIKE.get(name, (name, 0.0))
        middle = share * person(PEOPLE[base]) + (1 - share**2) ** 0.5 * person(PEOPLE[name])
        faces.embeddings[row] = face_of(middle, 500 + row)
    keys = cache.face_keys(faces)
    made = Proposal("20260101-000000-test", "test", "2099-01-01T00:00:00Z", {}, (), facesets=tuple(
        Group(tuple(map(Face, keys[EACH * at:EACH * (at + 1)]))) for at in range(len(WHO))))
    swap.export(Library(place / "here" / "library"), made, [faces], OPTIONS)
    return place / "here", faces, names


@pytest.fixture
def lab(lab_template: tuple[Path, cache.Cache, list[str]], tmp_path: Path) -> Iterator[Lab]:
    place, faces, names = lab_template
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    keys = cache.face_keys(faces)
    rest = keys[EACH * len(WHO):]
    made = Proposal("20260102-000000-test", "test", "2099-01-01T00:00:00Z", {}, (),
                    ambiguous=(Face(rest[0], 0.3, "faceset_001 or faceset_002"),),
                    thin=(Group(tuple(map(Face, rest[2:])), reason="6 faces of 2 photos"),))
    opened = Lab(Library(tmp_path / "library"), faces, made, dict(zip(map(short_key, keys), names, strict=True)))
    yield opened
    opened.close()

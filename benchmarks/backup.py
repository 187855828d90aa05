"""What a backup of Immich's database spares: photos and bytes, and how soon it is known who is there.

    --small     how an embedding changes where a face is smaller, as in Immich's preview: cosine to the full size
    --read N    seconds and memory to read a made-up backup of N faces
    --made      a made-up library of 54,000 assets: 20,000 faces in 10,261 photos with one that is big enough, 25 people
                in the library who hold 42 % of them, 185 who recur, the rest seen once or twice; a dry run of the stage
    --real      the real backup of ../shared with the labelled photos: stage, embed worker (embed_512) and clustering,
                with it and without, and how many of the best faces of everybody the short way has

Run     python benchmarks/backup.py --made --pictures 60,30
Exit    0
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from immich_lab import backups  # noqa: E402
from immich_lab.library_bulk import fill  # noqa: E402
from immich_lab.server import LabServer  # noqa: E402

import config  # noqa: E402
from facesets.cluster import identities, measures, rules  # noqa: E402
from facesets.common import files  # noqa: E402
from facesets.embed import decode, packs  # noqa: E402
from facesets.embed.analyser import Analyser  # noqa: E402
from facesets.fake_immich.library_model import Face, User  # noqa: E402
from facesets.formats import boxes, cache, distances, proposal  # noqa: E402
from facesets.formats.faceset import FACES, Contents, write_faces  # noqa: E402
from facesets.immich import backup  # noqa: E402
from facesets.library import folder as folders  # noqa: E402
from facesets.library import store  # noqa: E402

REAL, OWNER = SHARED / "immich" / "backup-2.7.2.sql.gz", "a4189ca7-2683-435f-8645-2a84edc8b4b1"
WANTED, FACES_THERE = 10_261, 19_480       # photos and faces of the library whose figures DESIGN has
D = backup.D


def small(made: cache.Cache) -> None:
    """Print the cosine of an embedding at each size to that of the same face at 200 pixels and more."""
    analyser = Analyser(packs.open_pack(str(SHARED / "models" / "embed_512"), Path()), "cpu")
    large = np.flatnonzero((made.faces["face_short"] > 200) & (made.faces["det_score"] > 0.7))
    alike: dict[int, list[float]] = {24: [], 34: [], 45: [], 60: [], 90: [], 150: []}
    for row in np.random.default_rng(0).choice(large, 45, replace=False):
        face = made.faces[row]
        bgr = decode.read_upright(Path(made.photos[face["photo"]].path))
        for size, found in alike.items():
            scale = size / face["face_short"]
            less = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            box, _, landmarks = analyser.detect(less)
            share = boxes.overlap(face["box"] * scale, box)
            if len(box) and share.max() > 0.4:
                raw = analyser.embed(less, landmarks[[share.argmax()]])[0]
                found.append(float(raw @ made.embeddings[row] / np.linalg.norm(raw)))
    for size, found in alike.items():
        print(f"{size:>4} pixels: {len(found)} found, cosine {np.median(found):.3f} "
              f"({np.percentile(found, 10):.3f} to {np.percentile(found, 90):.3f})")


def read(count: int, path: Path) -> None:
    """Print what reading a dump of so many faces takes; one process makes it, another reads it."""
    vectors = [backups.vector(row) for row in np.random.default_rng(1).normal(0, 0.9, (500, D)).astype(np.float32)]
    columns = ("id", "assetId", "personId", *backup.FRAME, "deletedAt", "isVisible")
    with open(path, "w") as file:
        file.write('COPY public.asset (id, "ownerId") FROM stdin;\n')
        file.writelines(f"a{number:035}\tme\n" for number in range(count // 2 + 1))
        file.write(f'\\.\nCOPY public.asset_face ({", ".join(columns)}) FROM stdin;\n')
        file.writelines(f"f{number:035}\ta{number // 2:035}\t\\N\t1920\t1440\t100\t100\t300\t300\t\\N\tt\n"
                        for number in range(count))
        file.write('\\.\nCOPY public.face_search ("faceId", embedding) FROM stdin;\n')
        file.writelines(f"f{number:035}\t{vectors[number % 500]}\n" for number in range(count))
        file.write("\\.\n" + backups.TAIL)
    code = ("import sys, time, resource; from pathlib import Path; from facesets.immich import backup; "
            "began = time.time(); read = backup.of_file(Path(sys.argv[1]), 'me'); "
            "print(f'{len(read.face):,} faces in {time.time() - began:.1f} s ({time.process_time():.1f} s of a core), "
            "{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB')")
    print(f"{path.stat().st_size / 1e9:.2f} GB of SQL: ", end="", flush=True)
    subprocess.run([sys.executable, "-c", code, path], cwd=CHECKOUT, check=True)


def made_up(server: LabServer, user: User, count: int, library: Path) -> dict[str, np.ndarray]:
    """Fill the server, and the library of 25 people; face id -> embedding."""
    rng = np.random.default_rng(3)
    total = round(FACES_THERE * count / 54_000)
    images = [asset for asset in fill(server.library, user, count, faces=0) if asset.type == "IMAGE"]
    order = rng.permutation(len(images))
    shown = [images[at] for at in order[:round(WANTED * count / 54_000)]]
    sizes = [_sizes(rng, 25, round(0.42 * total), 60), _sizes(rng, 185, round(0.17 * total), 6)]
    once = total - sum(map(sum, sizes))
    sizes.append([2] * (once // 5) + [1] * (once - once // 5 * 2))
    people = [many for group in sizes for many in group]
    who = rng.permutation(np.repeat(np.arange(len(people)), people))
    middle = _unit(rng.normal(size=(len(people), D)))
    clear = np.clip(rng.normal(1, 0.12, len(who)), 0.6, 1.3)        # norm over the median
    share = np.sqrt(1 - (0.64 / np.maximum(clear, 0.66)) ** 2)[:, None]
    raw = (share * middle[who] + np.sqrt(1 - share ** 2) * _unit(rng.normal(size=(len(who), D)))) * clear[:, None] * 21
    vectors = {}
    for number, vector in enumerate(raw):
        # every photo shows one face that is big enough; of the others most are small
        first = number < len(shown)
        asset = shown[number] if first else shown[int(rng.integers(len(shown)))]
        short = 90 * np.exp(abs(rng.normal(0, 0.75))) if first else 75 * np.exp(rng.normal(0, 0.75))
        vectors[_face(server, asset, short, rng)] = vector
    for asset in (images[at] for at in order[len(shown):len(shown) + round(9_539 * count / 54_000)]):
        vectors[_face(server, asset, rng.uniform(25, 85), rng)] = _unit(rng.normal(size=(1, D)))[0] * 15
    sha256 = packs.recogniser_sha256("buffalo_l")
    _write_library(library, middle[:25].astype(np.float32),
                   cache.Model("buffalo_l", sha256, "", D, *distances.of(sha256)))
    return vectors


def _sizes(rng: np.random.Generator, people: int, faces: int, least: int) -> list[int]:
    """Few have many: as in every library."""
    share = rng.pareto(1.2, people) + 0.3
    return [least + int(one) for one in share / share.sum() * max(0, faces - least * people)]


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _face(server: LabServer, asset: Any, short: float, rng: np.random.Generator) -> str:
    """A face of so many pixels of the original, in the preview's frame; its id."""
    width, height = 1920, 1440
    side = min(short * width / asset.width, height - 2)
    x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
    face = server.face((x, y, x + side + 1, y + side + 1), width, height)
    server.library.add_face(asset, face)
    return face.id


def _write_library(root: Path, centroids: np.ndarray, model: cache.Model) -> None:
    """A library whose facesets have one face each, in the middle."""
    manifest = store.Manifest(len(centroids) + 1, asdict(model))
    for number, centroid in enumerate(_unit(centroids).astype(np.float32), 1):
        place = files.private_folder(root / f"faceset_{number:03d}")
        faces = np.zeros(1, cache.FACE)
        photo = cache.Photo(f"/photos/{number}.jpg", f"{number:064x}", "faces")
        write_faces(place / FACES, Contents(cache.Cache(model, [photo], faces, centroid[None], np.ones(1, np.float32)),
                                            np.ones(1, np.int32), centroid))
        manifest.facesets.append(folders.Record(place.name, number, f"Person {number}"))
    store.write_manifest(root / "manifest.json", manifest)


def stage(server: LabServer, key: str, root: Path, *flags: str) -> tuple[dict[str, Any], float, str]:
    """The summary of a run, seconds until the answer (else to its end), and what it said."""
    environment = {**os.environ, "IMMICH_URL": server.url, "IMMICH_API_KEY": key,
                   "FACESETS_DATA_ROOT": str(root / "work"), "FACESETS_LIBRARY": str(root / "library")}
    began, answered, said = time.monotonic(), 0.0, []
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, str(CHECKOUT / "immich_stage.py"), "--user", "bench", "--json",
                                    *flags], env=environment, stdout=out, stderr=subprocess.PIPE, text=True)
        for line in process.stderr or ():
            said.append(line)
            answered = answered or (time.monotonic() - began if "worth fetching" in line else 0.0)
        if process.wait():
            raise SystemExit("".join(said[-5:]))
        out.seek(0)
        return json.load(out), answered or time.monotonic() - began, "".join(said)


def made(count: int, pictures: Sequence[int], folder: Path) -> None:
    with LabServer() as server:
        user = server.add_user("Bench")
        key, path = server.add_key(user), folder / "backup.sql"
        vectors = made_up(server, user, count, folder / "library")
        path.write_text(backups.dump(server.library, lambda face: vectors.get(face.id)))
        print(f"{count:,} assets, {len(vectors):,} embeddings, {path.stat().st_size / 1e6:.0f} MB of SQL")
        for number in pictures:
            summary, answered, said = stage(server, key, folder, "--backup", str(path), "--dry-run", "--pictures",
                                            str(number))
            line = next(one for one in said.splitlines() if "worth fetching" in one)
            of = summary["pending"] + summary["not_needed_yet"]
            print(f"at {number} pictures, answered after {answered:.0f} s: {100 * summary['pending'] / of:.0f} % of "
                  f"the photos. {line}", flush=True)


def ids() -> dict[str, str]:
    """File name -> asset id of the owner's photos in the real backup."""
    text = subprocess.run(["zcat", REAL], capture_output=True, check=True).stdout.decode("utf-8", "replace")
    block = re.search(r"COPY public\.asset \((.*?)\) FROM stdin;\n(.*?)\n\\\.", text, re.DOTALL)
    assert block is not None
    columns = [name.strip('" ') for name in block[1].split(",")]
    rows = [dict(zip(columns, line.split("\t"), strict=True)) for line in block[2].split("\n")]
    return {row["originalFileName"]: row["id"] for row in rows if row["ownerId"] == OWNER}


def photos() -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    for part in ("people", "groups"):
        for name, label in sorted(json.loads((SHARED / "photos" / part / "labels.json").read_text()).items()):
            if "faces" in label:
                yield SHARED / "photos" / part / name, label["faces"]


def real(pictures: Sequence[int], folder: Path) -> None:
    """Both ways over the labelled photos, as the real server had them."""
    shown, known = backup.of_file(REAL, OWNER), ids()
    with LabServer() as server:
        user = server.add_user("Bench")
        del server.library.users[user.id]
        user.id = OWNER
        server.library.users[OWNER] = user
        people = {one: server.add_person(user, name) for one, name in shown.people.items()}
        for day, (path, _) in enumerate(photos()):
            asset = server.add_asset(user, path, name=path.name, taken=1_262_304_000_000 + day * 86_400_000)
            del server.library.assets[asset.id]
            asset.id = known[path.name]
            server.library.assets[asset.id] = asset
            for row in shown.rows(asset.id):
                box = [row[name] for name in backup.FRAME]
                server.library.add_face(asset, Face(server.library.new_id("face"), tuple(box[2:]), box[0], box[1],
                                                    people.get(row["person"]["id"])))
        key = server.add_key(user)
        long = chain(server, key, folder / "long")
        for number in pictures:
            short = chain(server, key, folder / f"short {number}", "--backup", str(REAL), "--pictures", str(number))
            for count in (8, 60):
                print(f"    of the best {count} of everybody: {kept(long, short, count)}", flush=True)
            print(f"    {by_chance(long, len(short.faces.photos))}", flush=True)


@dataclass(frozen=True)
class Way:
    """What came of a chain."""

    proposed: proposal.Proposal     # who is who
    faces: cache.Cache              # of the photos that were staged


def chain(server: LabServer, key: str, root: Path, *flags: str) -> Way:
    """Stage, embed and cluster, as the scripts do it; no pictures are made."""
    began = time.monotonic()
    summary, answered, _ = stage(server, key, root, *flags)
    seconds, user, made = [time.monotonic() - began], root / "work/immich/bench", root / "work/cache/immich_bench.npz"
    environment = {**os.environ, "FACESETS_DATA_ROOT": str(root / "work"), "FACESETS_LIBRARY": str(root / "library"),
                   "FACESETS_MODEL": str(SHARED / "models" / "embed_512"), "FACESETS_PROVIDER": "cpu"}
    for script in (["embed_worker.py", "--queue", str(user / "queue.json"), "--out", str(made)],
                   ["cluster_immich.py", "--user", "bench", "--dry-run"]):
        subprocess.run([sys.executable, *script], cwd=CHECKOUT, env=environment, check=True, capture_output=True)
        seconds.append(time.monotonic() - began)
    staged, embedded, end = seconds
    way = Way(proposal.read(user / "refine.json"), cache.read(made))
    print(f"{' '.join(flags[2:]) or 'without'}: {len(way.faces.photos)} photos, median norm "
          f"{np.median(way.faces.norms):.2f}, "
          f"{summary['bytes_downloaded'] / 1e6:.1f} MB; who is there is known after "
          f"{answered if flags else end:.0f} s, staged after {staged:.0f} s, embedded after {embedded:.0f} s, in "
          f"facesets after {end:.0f} s (load {os.getloadavg()[0]:.1f})")
    print(f"    {judged(way)[1]}", flush=True)
    return way


def by_chance(long: Way, count: int, times: int = 8) -> str:
    """How right the facesets of so many photos are that nobody chose."""
    rng, found = np.random.default_rng(0), []
    [whole] = identities.with_distances([long.faces])
    limits = rules.Rules.of(config.load(config.Clustering), whole.model,
                            config.load(config.Exporting).duplicate_similarity)
    for _ in range(times):
        rows = np.flatnonzero(np.isin(whole.faces["photo"], rng.choice(len(whole.photos), count, replace=False)))
        some = replace(whole, faces=whole.faces[rows], embeddings=whole.embeddings[rows], norms=whole.norms[rows],
                       persons=[whole.persons[row] for row in rows])
        made = identities.propose([some], [], limits, run="", made_by="", created="")
        found.append(judged(Way(made, some))[0])
    return f"of as many photos taken by chance, {times} times: pairwise F {min(found):.3f} to {max(found):.3f}"


def judged(way: Way) -> tuple[float, str]:
    """How right the facesets are, over the faces that a label names: pairwise F, and all in words."""
    truth = {files.sha256_of(path): labels for path, labels in photos()}
    place = {face.face: number for number, group in enumerate(way.proposed.facesets) for face in group.faces}
    names, found = [], []
    for row, key in enumerate(cache.face_keys(way.faces)):
        labels = [one for one in truth.get(key[:64], ()) if one.get("identity") and not one.get("ignore")]
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (one["box"] for one in labels)]).reshape(-1, 4)
        share = boxes.overlap(way.faces.faces["box"][row], corners)
        if len(labels) and share.max() >= 0.4:
            names.append(labels[int(share.argmax())]["identity"])
            found.append(place.get(key, -1 - row))
    group, (everybody, people) = np.array(found), np.unique(names, return_inverse=True)
    inside = group >= 0
    pure = [len(set(people[group == one])) == 1 for one in set(group[inside])]
    parts = {str(name): sorted(np.unique(group[inside & (people == number)], return_counts=True)[1].tolist())[::-1]
             for number, name in enumerate(everybody)}
    split = [f"{name} ({' + '.join(map(str, sizes))})" for name, sizes in parts.items() if len(sizes) > 1]
    pairwise = measures.pairwise(group[inside], people[inside]).f
    return pairwise, (
        f"{len(pure)} facesets, {sum(pure) / max(len(pure), 1):.3f} of them pure, hold {inside.sum()} of "
        f"{len(group)} named faces: pairwise F {pairwise:.3f}, BCubed F "
        f"{measures.bcubed(group[inside], people[inside]).f:.3f}; in more than one: {', '.join(split) or 'nobody'}")


def kept(long: Way, short: Way, count: int) -> str:
    """Of the best faces of every faceset of the long way, by quality, how much the short way has in its facesets."""
    quality = dict(zip(cache.face_keys(long.faces), long.faces.faces["quality"].tolist(), strict=True))
    have = {face.face for group in short.proposed.facesets for face in group.faces}
    shares, best, there = [], 0.0, 0.0
    for group in long.proposed.facesets:
        first = [face.face for face in group.faces[:count]]
        own = sum(quality[key] for key in first), sum(quality[key] for key in first if key in have)
        best, there = best + own[0], there + own[1]
        shares.append(own[1] / own[0])
    return (f"{there / best:.1%} by quality; {sum(share >= 0.98 for share in shares)} of {len(shares)} people have "
            f"98 % or more, {shares.count(0)} nothing, the least {min(shares):.1%}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--read", type=int, default=0, metavar="N")
    parser.add_argument("--made", action="store_true")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--assets", type=int, default=54_000, metavar="N")
    parser.add_argument("--pictures", default="60,30", metavar="N,N")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="for --small: made by the worker with embed_512")
    args = parser.parse_args(argv)
    pictures = [int(number) for number in args.pictures.split(",")]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        if args.small:
            small(cache.read(args.cache))
        if args.read:
            read(args.read, folder / "backup.sql")
        if args.made:
            made(args.assets, pictures, folder)
        if args.real:
            real(pictures, folder)
        print(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6:.2f} GB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())

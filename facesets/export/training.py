"""Training folders: one person's photos in three framings at their own resolution, with captions and loss masks.

    OUT/<name>/images/<photo>-close.png, .txt        and -half, -full; nothing is painted, enlarged or filled
    OUT/<name>/masks/<photo>-close.png               white where to learn, black where somebody else stands
    OUT/<name>/dataset.toml | concepts.json | dataset.yaml      what the trainer reads

kohya's sd-scripts take a mask by `conditioning_data_dir` (docs/masked_loss_README.md there, with --masked_loss),
ai-toolkit by `mask_path`, OneTrainer as `<image>-masklabel.png` beside the image.
"""

import json
import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..common import files, paths, terminal
from ..common.errors import UsageError
from ..formats import cache
from ..formats.boxes import overlap, turned_boxes
from ..library.folder import Record
from . import clean, outside, render
from .select import varied

MOST, FEWEST = 60, 15           # pictures of one person; more teach a trainer nothing new, fewer too little
LEAST, LARGEST = 512, 2048      # pixels of the shorter and of the longer side
INSIDE = 0.8                    # share of a framing that the photo must have
MASKED = 0.4                    # share of a picture that others may take
PROFILE = 30.0                  # degrees of yaw from which on a face shows a side
SHOULDERS, TRUNK = 1.7, 1.2     # widths of a face box beside its middle that the body of another takes, and ours
SAME = 0.4                      # intersection over union from which on a box is the wanted face
Boxes = Callable[[str], Sequence[Sequence[float]]]      # SHA-256 of a photo -> boxes of all its faces
CAPTION = "{trigger} {class}, {framing}, {year}"


@dataclass(frozen=True)
class Framing:
    """What is shown around a face, in heights of its box: above, below and to either side of its middle."""

    words: str
    share: float        # of the pictures
    inside: float       # share of it that the photo must have; a face that fills its photo is a close-up all the same
    above: float
    below: float
    aside: float


FRAMINGS = {"close": Framing("close-up portrait", 0.4, 0.3, 1.1, 1.2, 1.1),
            "half": Framing("half-length portrait", 0.3, 0.8, 1.2, 3.3, 1.7),
            "full": Framing("full body photo", 0.3, 0.8, 1.3, 6.8, 2.4)}


@dataclass(frozen=True)
class Shot:
    """One picture to make: a face of the manifest, its framing, and the window of the photo as one sees it upright."""

    face: Mapping[str, Any]
    row: int                        # of the face in the faceset's cache
    yaw: float
    framing: str
    window: tuple[int, int, int, int]
    box: np.ndarray                 # (4,)
    others: tuple[np.ndarray, ...]
    turn: int                       # quarter turns clockwise that make the photo upright

    @property
    def name(self) -> str:
        return f"{outside.called(self.face)}-{self.framing}"


def write(record: Record, members: cache.Cache, folder: Path, boxes: Boxes, trainer: str, caption: str = CAPTION,
          kind: str = "person") -> list[str]:
    """Write or renew the training folder of one faceset. Returns lines of what it holds and what it lacks.

    record, members     manifest and faces of the faceset
    boxes               all faces that are known in a photo, by its SHA-256
    """
    if unknown := set(re.findall(r"{(.*?)}", caption)) - set(re.findall(r"{(.*?)}", CAPTION)):
        raise UsageError(f"--caption knows {{trigger}}, {{class}}, {{framing}} and {{year}}, not {{{unknown.pop()}}}")
    shots = choose(record, members, boxes, *outside.handwork(folder))
    trigger, changed = _trigger(record), list[str]()
    with outside.updating(folder) as scratch, terminal.progress(len(shots), folder.name, "pictures") as bar:
        made = []
        for shot in shots:
            bar.update(1)
            if (photo := render.read(members, shot.row, changed)) is not None:
                _picture(shot, photo, scratch, trainer)
                text = describe(caption, trigger, kind, shot)
                files.write_bytes(scratch / "images" / f"{shot.name}.txt", f"{text}\n".encode())
                made.append(shot)
        if made:
            name, content = CONFIGURATIONS[trainer](folder.absolute(), trigger, kind)
            files.write_bytes(scratch / name, content.encode())
    return report(record, folder, made) + outside.lying(folder, "")[2] + _stale(folder) + render.changed(changed)


def _stale(folder: Path) -> list[str]:
    """A line of a configuration that a person changed, where the folder had another name."""
    there = [path for path in (folder / name for name in ("dataset.toml", "concepts.json", "dataset.yaml"))
             if path.is_file() and not any(json.dumps(_seen(folder / "images"), ensure_ascii=plain) in
                                           path.read_text("utf-8", "replace") for plain in (True, False))]
    return [f"{terminal.safe(path)} is yours and names another folder; change it" for path in there]


def choose(record: Record, members: cache.Cache, boxes: Boxes, there: Collection[str] = (),
           gone: Collection[str] = ()) -> list[Shot]:
    """Varied faces, each in the framing that its photo has and that is wanted most, until there are MOST.

    there, gone     names of pictures of an earlier export that lie in the folder, and that a person deleted: a photo
                    keeps its framing, and one that was deleted is not shown in another one either
    """
    rows = {key: row for row, key in enumerate(cache.face_keys(members))}
    deleted = {outside.photo_of(name) for name in gone} - {outside.photo_of(name) for name in there}
    faces = [face for face in record.faces if face["face"] in rows and outside.called(face) not in deleted]
    at = [rows[face["face"]] for face in faces]
    order = varied(np.array([face["quality"] for face in faces]), members.faces["yaw"][at], members.faces["pitch"][at],
                   np.array([face["light"] for face in faces]).reshape(-1, 2), len(faces))
    possible = []
    for place in order:
        some = [shot for shot in _possible(faces[place], members, at[place], boxes) if shot.name not in gone]
        possible.append([shot for shot in some if shot.name in there] or some)
    possible = [some for some in possible if some]
    wanted = {name: round(MOST * framing.share) for name, framing in FRAMINGS.items()}
    shots: list[Shot] = []
    for some in possible[:MOST]:
        shots.append(max(some, key=lambda shot: wanted[shot.framing]))
        wanted[shots[-1].framing] -= 1
    if len(shots) < FEWEST:     # a second framing of a photo is better than too few pictures
        taken = {shot.name for shot in shots}
        more = [shot for some in possible for shot in some if shot.name not in taken]
        shots += more[:FEWEST - len(shots)]
    return shots


def _possible(face: Mapping[str, Any], members: cache.Cache, row: int, boxes: Boxes) -> Iterator[Shot]:
    """The framings that its photo has of a face."""
    photo, yaw = members.photos[members.faces["photo"][row]], float(members.faces["yaw"][row])
    size = (photo.width, photo.height)
    box, *known = turned_boxes(np.array([face["box"], *boxes(photo.sha256)], float), photo.turn, size)
    size = size if photo.turn % 2 == 0 else size[::-1]
    height, middle = float(box[3] - box[1]), (box[:2] + box[2:]) / 2
    others = tuple(other for other in known if overlap(other, box) < SAME)
    for name, framing in FRAMINGS.items():
        wide, high = 2 * framing.aside * height, (framing.above + framing.below) * height
        left, top = middle[0] - framing.aside * height, middle[1] - framing.above * height
        x1, x2 = np.clip([left, left + wide], 0, size[0]).round().astype(int)
        y1, y2 = np.clip([top, top + high], 0, size[1]).round().astype(int)
        window = (int(x1), int(y1), int(x2), int(y2))
        if ((x2 - x1) * (y2 - y1) >= framing.inside * wide * high and min(x2 - x1, y2 - y1) >= LEAST
                and 1 - _mask(window, others, box).mean() <= MASKED):
            yield Shot(face, row, yaw, name, window, box, others, photo.turn)


def _mask(window: tuple[int, int, int, int], others: Sequence[np.ndarray], box: np.ndarray,
          size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """(h, w) 0..1 of the given size: 0 where others are, heads and what is likely their bodies; 1 elsewhere, on the
    wanted face, and on what is likely its own body, but for heads in front of it."""
    x1, y1, x2, y2 = window
    scale = np.array([size[1] / (x2 - x1), size[0] / (y2 - y1)] * 2)
    corner = np.array([x1, y1, x1, y1])
    own, *rest = ((each - corner) * scale for each in (box, *others))
    mask = np.ones(size, np.float32)
    for other in rest:
        mask[_body(size, other, SHOULDERS)] = 0
    mask[_body(size, own, TRUNK)] = 1
    mask = np.maximum(mask, clean.head(size, own, clean.OWN))
    for other in rest:
        mask = np.minimum(mask, 1 - clean.head(size, other, clean.REACH))
    left, top, right, bottom = np.clip(own, 0, np.array([*size[::-1]] * 2)).round().astype(int)
    mask[top:bottom, left:right] = 1
    return mask


def _body(size: tuple[int, int], box: np.ndarray, aside: float) -> tuple[slice, slice]:
    """Where somebody stands below a face box: `aside` of its widths to either side, and as far down as feet are."""
    middle, (width, height) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    sides = np.array([middle[0] - aside * width, box[3], middle[0] + aside * width,
                      middle[1] + FRAMINGS["full"].below * height])
    left, top, right, bottom = np.clip(sides, 0, np.array([*size[::-1]] * 2)).round().astype(int)
    return slice(top, bottom), slice(left, right)


def _picture(shot: Shot, photo: np.ndarray, scratch: Path, trainer: str) -> None:
    """Write a picture and its mask."""
    photo = np.rot90(photo, -shot.turn)
    x1, y1, x2, y2 = shot.window
    scale = min(1.0, LARGEST / max(x2 - x1, y2 - y1))
    size = (round((y2 - y1) * scale), round((x2 - x1) * scale))
    pixels = np.ascontiguousarray(photo[y1:y2, x1:x2])
    if scale < 1:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    mask = _mask(shot.window, shot.others, shot.box, size)
    images = files.private_folder(scratch / "images")
    masks = images if trainer == "onetrainer" else files.private_folder(scratch / "masks")
    render.write_png(images / f"{shot.name}.png", pixels)
    ending = "-masklabel.png" if trainer == "onetrainer" else ".png"
    render.write_png(masks / f"{shot.name}{ending}", (mask * 255).round().astype(np.uint8))


def describe(template: str, trigger: str, kind: str, shot: Shot) -> str:
    """The caption of a picture; what is unknown leaves no gap between commas."""
    values = {"trigger": trigger, "class": kind, "framing": FRAMINGS[shot.framing].words,
              "year": shot.face["taken_at"][:4]}
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return ", ".join(part.strip() for part in template.split(",") if part.strip())


def _trigger(record: Record) -> str:
    """A word that a tokenizer takes for one: letters and digits of the name, else of the folder."""
    plain = unicodedata.normalize("NFKD", record.name.casefold())
    return "".join(char for char in plain if char.isascii() and char.isalnum()) or record.folder


def report(record: Record, folder: Path, shots: Sequence[Shot]) -> list[str]:
    """What the training folder holds, and what a person should look for."""
    shots = [shot for shot in shots if (folder / "images" / f"{shot.name}.png").exists()]     # but for the deleted ones
    counts = Counter(shot.framing for shot in shots)
    lacks = [f"no {FRAMINGS[name].words}" for name in FRAMINGS if not counts[name]] if shots else []
    if len(shots) < FEWEST:
        lacks.insert(0, f"{FEWEST} are better, of photos with {LEAST} pixels around the face")
    aside = [shot.yaw for shot in shots]
    most = {"left": -min(aside, default=0.0), "right": max(aside, default=0.0)}
    lacks += [f"nobody looks {side}" for side, yaw in most.items() if shots and yaw < PROFILE]
    years = sorted({shot.face["taken_at"][:4] for shot in shots if shot.face["taken_at"][:4].isdecimal()})
    if years and int(years[-1]) < time.localtime().tm_year - 2:
        lacks.append(f"nothing since {years[-1]}")
    held = ", ".join(f"{counts[name]} {name}" for name in FRAMINGS if counts[name])
    return [f"{terminal.safe(folder)}: {terminal.many(len(shots), 'picture')}" + (f" ({held})" if held else "")
            + (f"; {'; '.join(lacks)}" if lacks else "")]


def _quoted(text: str) -> str:
    """A string as JSON, TOML and YAML read it; not in ASCII, since TOML knows no pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False)


def _seen(folder: Path) -> str:
    """The folder as a trainer sees it, which on a drive of Windows is one of Windows."""
    there = paths.wsl_to_win(folder) if "WSL_DISTRO_NAME" in os.environ else ""
    return there if there[1:2] == ":" else str(folder)


def _kohya(folder: Path, *_: str) -> tuple[str, str]:
    return "dataset.toml", f"""# accelerate launch ... --dataset_config dataset.toml --masked_loss
# Every image needs its mask and every mask its image, or the trainer refuses the folder: remove both.
[general]
caption_extension = ".txt"
enable_bucket = true
bucket_no_upscale = true

[[datasets]]
resolution = 1024
batch_size = 1

  [[datasets.subsets]]
  image_dir = {_quoted(_seen(folder / "images"))}
  conditioning_data_dir = {_quoted(_seen(folder / "masks"))}
  num_repeats = 10
"""


def _onetrainer(folder: Path, trigger: str, kind: str) -> tuple[str, str]:
    return "concepts.json", json.dumps([{
        "name": f"{trigger} {kind}", "path": _seen(folder / "images"), "enabled": True, "include_subdirectories": False,
        "balancing": 10.0, "balancing_strategy": "REPEATS", "text": {"prompt_source": "sample"}}], indent=1)


def _ai_toolkit(folder: Path, trigger: str, kind: str) -> tuple[str, str]:
    return "dataset.yaml", f"""# for `datasets:` of a job; with trigger_word: {_quoted(trigger)}
- folder_path: {_quoted(_seen(folder / "images"))}
  mask_path: {_quoted(_seen(folder / "masks"))}
  mask_min_value: 0.0
  caption_ext: "txt"
  default_caption: {_quoted(f"{trigger} {kind}")}
  resolution: [512, 768, 1024]
"""


CONFIGURATIONS: dict[str, Callable[[Path, str, str], tuple[str, str]]] = {
    "kohya": _kohya, "onetrainer": _onetrainer, "ai-toolkit": _ai_toolkit}

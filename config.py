"""Every setting of face-sets, with its unit and its reason; flag over environment over `.env` over default.

Run     python config.py             lists them with their values and reasons
        python config.py --shell     the same as shell assignments, for finalize_immich.sh (never the key)
        python config.py --worker-flags   those of embed_worker.py, a word a line, but for paths: Windows has its own
A setting `known_distance` is the flag --known-distance, the environment variable FACESETS_KNOWN_DISTANCE and a line
FACESETS_KNOWN_DISTANCE=0.45 in `.env` beside this file (IMMICH_URL, STAGE_DIR and the like have no prefix). `.env` is
read by python-dotenv, as it is written: a # begins a comment only after a blank, and backslashes are themselves but in
double quotes. FACESETS_ENV_FILE names another file.
Only scripts read this module; the package gets plain values.
Exit    0 done · 64 usage · 78 a setting makes no sense
"""

import argparse
import io
import os
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from dotenv.parser import parse_stream

from facesets.common import terminal
from facesets.common.errors import SettingsError

HERE = Path(__file__).resolve().parent
GONE = {"FACESETS_MIN_PHOTOS": " any more (of each photo one face counts), delete that line"}


def setting(default: Any, why: str, prefix: str = "FACESETS_", least: float = 0, most: float = 999_999_999) -> Any:
    return field(default=default, metadata={"why": why, "prefix": prefix, "least": least, "most": most})


def variable(item: Field[Any]) -> str:
    """The environment variable of a setting."""
    return item.metadata["prefix"] + item.name.upper()


def flag(item: Field[Any]) -> str:
    return "--" + item.name.replace("_", "-")


@dataclass(frozen=True)
class Paths:
    """Where things lie. `None` follows from data_root."""

    data_root: Path = setting(HERE / "work", "folder of all working files")
    library: Path = setting(HERE / "facesets_swap_ready", "folder of the facesets")
    stage_dir: Path | None = setting(None, "folder of the staged photos, e.g. a share that Windows sees as X:\\", "")

    def user_dir(self, user: str) -> Path:
        return self.data_root / "immich" / user

    def photos(self, user: str) -> Path:
        return self.stage_dir / user / "photos" if self.stage_dir else self.user_dir(user) / "photos"

    def queue(self, user: str) -> Path:
        return self.user_dir(user) / "queue.json"

    def cache(self, user: str) -> Path:
        return self.data_root / "cache" / f"immich_{user}.npz"

    @property
    def caches(self) -> Path:
        return self.data_root / "cache"


@dataclass(frozen=True)
class Server:
    """The Immich server. The key is IMMICH_API_KEY in the environment or in a file of mode 0600, never a flag."""

    immich_url: str = setting("", "base URL, e.g. https://photos.example.org", "")
    immich_api_key_file: Path | None = setting(None, "file of mode 0600 that holds the key alone", "")
    immich_write_api_key_file: Path | None = setting(None, "file of mode 0600 that holds the key of immich-names", "")
    immich_admin_api_key_file: Path | None = setting(None, "file of mode 0600: the key of --backup server", "")
    immich_login_file: Path | None = setting(None, "file of mode 0600: IMMICH_EMAIL=... and IMMICH_PASSWORD=...", "")
    ca_file: Path | None = setting(None, "PEM file of your own certificate authority; TLS is always verified")
    connect_timeout: float = setting(10.0, "seconds to reach the server; a home server in the same country needs < 1",
                                     least=0.1)
    read_timeout: float = setting(60.0, "seconds of silence before an answer counts as lost; a sleeping disk needs 20",
                                  least=0.1)
    retry_pause: float = setting(0.5, "seconds before a failed request is repeated; doubles each time, up to 30")


@dataclass(frozen=True)
class Staging:
    workers: int = setting(8, "downloads at once; more than 8 gained nothing against one spinning disk", least=1,
                           most=64)
    min_face_px: int = setting(90, "shorter side of a face in original pixels; below 112 it is upscaled")
    pictures: int = setting(60, "photos fetched of each person where --backup says who is on them; a faceset shows its "
                                "best 8 first, and 60 are more than any tool averages; 0: all")
    exclude: tuple[str, ...] = setting(("**/thumbs/**", "**/@eaDir/**", "**/.thumbnails/**"),
                                       "globs of server paths that are no photos, as in .gitignore, comma-separated")


@dataclass(frozen=True)
class Embedding:
    model: str = setting("buffalo_l", "buffalo_l, opencv_zoo, or a folder with a detector and a recogniser")
    provider: str = setting("auto", "auto, or one of docs/providers.md: dml, cuda, coreml, tensorrt_rtx, openvino, "
                                   "webgpu, cpu")
    models_dir: Path = setting(HERE / "work" / "models", "folder that model packs are fetched into")
    lanes: int = setting(0, "photos at once; 0: one a core on the CPU, two more than cores on a device", most=64)
    save_photos: int = setting(64, "photos a part of the cache, so what a kill can cost", least=1)


@dataclass(frozen=True)
class Engine:
    """Many machines. docs/cluster.md has the whole story."""

    scheduler: str = setting("", "address of a Dask scheduler whose workers share the work, e.g. tls://host:8786")
    scheduler_tls: Path | None = setting(None, "folder of the cert.pem and key.pem that it wants; without, only an "
                                               "engine on this machine")
    photo_timeout: float = setting(300.0, "seconds after which a worker that still looks at a photo is hung and "
                                          "started again; the largest take 10 on a slow core", least=1)


@dataclass(frozen=True)
class Clustering:
    known_distance: float | None = setting(None, "cos-dist to a centroid that counts as the same person; none: "
                                                 "the model's own", most=1)
    cluster_distance: float | None = setting(None, "cos-dist where average linkage stops; looser than known_distance, "
                                                   "since there is no centroid yet; none: the model's", most=1)
    min_faces: int = setting(6, "faces a faceset needs; fewer give a swap tool nothing to average", least=1)
    known_margin: float = setting(0.05, "cos-dist by which the next identity must be farther; nearer is ambiguous",
                                  most=1)
    clear_closer: float = setting(0.18, "share of known_distance by which the clearest face (see cluster/rules.py) "
                                        "must be nearer: one that is far is somebody else", most=1)
    dim_farther: float = setting(0.05, "share of it by which the dimmest face may be farther and still be right",
                                 most=1)
    linked_closer: float = setting(0.27, "share of it by which two of the clearest must be nearer to be linked, "
                                         "and one to be known: who has no faceset yet is not the next nearest", most=1)
    merge_closer: float = setting(0.36, "share of it by which the centroids of two identities must be nearer to be one "
                                        "person; siblings are as near as 0.33 of cos-dist", most=1)
    min_clarity: float = setting(0.6, "norm of a raw embedding, over the library's median, below which it says nothing "
                                      "of anybody: blurred, hidden, turned")
    telling_clarity: float = setting(0.7, "the same below which a face may join an identity, but is not counted in "
                                          "min_faces: five and a blurred one are not six")
    founding_clarity: float = setting(0.85, "the same below which a face may join an identity, but founds none: dim "
                                            "faces are more like each other than like anybody")
    full_clarity: float = setting(1.1, "the same from which on a face tells no more")
    join_faces: int = setting(3, "faces a cluster has at most to count as a leftover; larger ones are somebody")
    photo_penalty: float = setting(0.25, "similarity lost by two clusters that share all photos of the smaller; "
                                         "a hard rule splits people at every mirror and collage", most=1)
    photo_veto: float = setting(0.10, "share of their photos that two identities may share and still be one", most=1)
    veto_photos: int = setting(2, "photos that they must share at least to be two: one may be a mirror or a collage")
    min_score: float = setting(0.5, "detector's certainty of a face that may form an identity, 0..1", most=1)
    min_short: int = setting(25, "pixels of the shorter side of such a face; fewer make no picture")


@dataclass(frozen=True)
class Exporting:
    image_size: int = setting(512, "side of an exported PNG in pixels; what the swap tools train at", least=64,
                              most=4096)
    padding: float = setting(0.5, "part of the face box added on every side; tools detect again and need context")
    outlier_distance: float | None = setting(None, "cos-dist to the centroid beyond which a face gets no picture; "
                                                   "none: the model's known_distance", most=2)
    duplicate_similarity: float = setting(0.95, "cosine from which two faces are one moment; the better one is kept",
                                          most=1)
    top: int = setting(8, "pictures in _top8.fsz; roop-unleashed's maker advises no more")
    export_workers: int = setting(2, "photos decoded at once; each may take 600 MB", least=1, most=64)


@dataclass(frozen=True)
class Reporting:
    report_alike: float = setting(0.1, "cos-dist beyond known_distance at which two facesets are still shown side by "
                                       "side; siblings lie about there", most=1)


@dataclass(frozen=True)
class Shelf:
    """Looking after facesets that exist."""

    era_distance: float = setting(0.40, "cos-dist to an era's anchor; a face changes less than this in a few years",
                                  most=1)
    era_years: int = setting(5, "years that an era reaches to either side of its anchor")
    consolidate_closer: float = setting(0.15, "cos-dist by which centroids must be nearer than known_distance to be "
                                              "proposed as one person; siblings come as near as 0.28", most=1)


@dataclass(frozen=True)
class Windows:
    """The other side of a WSL machine. docs/windows.md has the whole story."""

    win_venv: Path = setting(Path("/mnt/c/face_embed_venv"), "the Windows worker's environment, as WSL sees it", "")
    windows_shares: str = setting("", "where Windows sees what WSL mounts itself, e.g. /mnt/nas=X:,/mnt/other=Y:")


Section = TypeVar("Section")
SECTIONS: tuple[type, ...] = (Paths, Server, Staging, Embedding, Engine, Clustering, Exporting, Shelf, Reporting,
                              Windows)
STEPS = [section for section in SECTIONS if section not in (Server, Staging, Shelf)]     # finalize_immich.sh's flags


def add_flags(parser: argparse.ArgumentParser, *sections: type, only: Sequence[str] = ()) -> None:
    """Give `parser` a flag for every setting of `sections` (of those named in `only`, if any are)."""
    for section in sections:
        group = parser.add_argument_group(section.__name__.lower())
        for item in fields(section):
            if not only or item.name in only:
                value = "none" if item.default is None else _written(item.default)
                group.add_argument(flag(item), metavar="X",
                                   help=f"{item.metadata['why']} (default {value})".replace("%", "%%"))


def load(section: type[Section], args: argparse.Namespace | None = None,
         environment: Mapping[str, str] = os.environ) -> Section:
    """The settings of one section, each from the first of: flag, environment, `.env`, default."""
    written = own_file(environment)
    values: dict[str, Any] = {}
    for item in fields(section):    # type: ignore[arg-type]
        given, name = getattr(args, item.name, None), variable(item)
        text = environment.get(name) if given is None else given
        if given is None and (text is None or (text == "" and item.default not in ("", None))):
            text = written.get(name)
        if text or (text == "" and item.default is not None):      # "" says that there is none
            values[item.name] = _value(text, item, name if given is None else flag(item))
    return section(**values)


def elsewhere(args: argparse.Namespace, *more: str) -> str:
    """What a command needs to find the folders of this one, typed in a shell of its own: " --library DIR"; also `more`.

    "" where they are those that it finds by itself."""
    here, there = load(Paths, args), load(Paths, environment={})
    found = {item: getattr(here, item.name) for item in fields(Paths) if item.name in ("data_root", "library", *more)}
    return "".join(f" {flag(item)} {shlex.quote(str(folder))}" for item, folder in found.items()
                   if folder != getattr(there, item.name))


KEYS = {    # variable -> what the key must be
    "IMMICH_API_KEY": "",
    "IMMICH_WRITE_API_KEY": ", a key of its own with person.read and person.update,",
    "IMMICH_ADMIN_API_KEY": ", the key of an administrator with maintenance and backup.download,"}


def api_key(server: Server, environment: Mapping[str, str] = os.environ, name: str = "IMMICH_API_KEY") -> str:
    """The key of the variable `name`, one of KEYS, or of the file that NAME_FILE names. It is never printed."""
    key = environment.get(name) or own_file(environment).get(name, "")
    if not key and (file := getattr(server, f"{name.lower()}_file")):
        key = _private_text(file).strip()
    if not key:
        raise SettingsError(f"no API key; export {name}{KEYS[name] or ','} or {name}_FILE naming a file of mode 0600")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"{name} holds characters that no key has; copy it from Immich again")
    return key


def login(server: Server, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """E-mail and password for a login instead of a key, None where neither is given. They are never printed."""
    if server.immich_login_file and not server.immich_login_file.exists():
        raise SettingsError(f"IMMICH_LOGIN_FILE: {server.immich_login_file} does not exist")
    written = dotenv(server.immich_login_file) if server.immich_login_file else {}
    given = {**own_file(environment), **written, **{name: value for name, value in environment.items() if value}}
    email, password = given.get("IMMICH_EMAIL", ""), given.get("IMMICH_PASSWORD", "")
    if bool(email) != bool(password):
        raise SettingsError("a login needs both IMMICH_EMAIL and IMMICH_PASSWORD")
    return (email, password) if email else None


def own_file(environment: Mapping[str, str]) -> dict[str, str]:
    """What `.env` says. A name of ours that is no setting would be lost without a word."""
    path = Path(environment.get("FACESETS_ENV_FILE") or HERE / ".env")
    written, known = dotenv(path), [variable(item) for section in SECTIONS for item in fields(section)]
    for name in written:
        if name.startswith("FACESETS_") and name not in known:
            raise SettingsError(f"{path}: {terminal.safe(name)} is no setting"
                                f"{GONE.get(name) or terminal.did_you_mean(name, known)}; python config.py lists them")
    return written


def dotenv(path: Path) -> dict[str, str]:
    """The NAME=value lines of `path`, empty where there is no such file."""
    if not path.exists():
        return {}
    lines = list(parse_stream(io.StringIO(_private_text(path))))
    for line in lines:
        if line.error or (line.key and line.value is None):
            raise SettingsError(f"{path}:{line.original.line}: not of the form NAME=value")
    return {line.key: line.value for line in lines if line.key and line.value is not None}


def _private_text(path: Path) -> str:
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; name the file in it")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and os.name == "posix":
            raise SettingsError(f"{path} can be read by others (mode {mode:04o}); "
                                f"run: chmod 600 {shlex.quote(str(path))}")
        return path.read_text(encoding="utf-8-sig")     # Windows' editors put a mark in front
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is no UTF-8 text; save it as UTF-8") from None


def _value(text: str, item: Field[Any], source: str) -> Any:
    """`text` as what the setting is, or SettingsError naming where it was written."""
    kind, *_ = get_args(item.type) or (item.type,)      # float of `float | None`
    try:
        if kind is Path:
            return Path(text).expanduser().absolute()
        if kind is str:
            return tuple(filter(None, map(str.strip, text.split(",")))) if item.type == tuple[str, ...] else text
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{source} is {terminal.safe(text)!r}, which is no {kind.__name__}") from None
    except RuntimeError:
        raise SettingsError(f"{source} is {terminal.safe(text)!r}, but nobody's home is known here; write it "
                            "without ~") from None
    least, most = item.metadata["least"], item.metadata["most"]
    if not least <= value <= most:      # also refuses nan
        raise SettingsError(f"{source} is {value}, which is out of range: {least} to {most:,}")
    return value


def _written(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="config.py")
    parser.add_argument("--shell", action="store_true", help="print shell assignments")
    parser.add_argument("--worker-flags", action="store_true", help="print what the worker on Windows is told")
    add_flags(parser, *STEPS)
    args = parser.parse_args(argv)
    lines = []
    for section in SECTIONS:
        values: Any = load(section, args)
        written = [(item, _written(getattr(values, item.name))) for item in fields(section)]
        if args.shell:
            lines += [f"{variable(item)}={shlex.quote(text)}" for item, text in written]
        elif args.worker_flags:
            chosen = [(item, text) for item, text in written if section is Embedding and item.type is not Path]
            lines += [word for item, text in chosen for word in (flag(item), text)]
        else:
            lines += ["", section.__name__.lower(), *(
                f"  {variable(item)}={text:<24} {item.metadata['why']}" for item, text in written)]
    terminal.answer("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

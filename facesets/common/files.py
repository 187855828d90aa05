"""Files that another step reads: whole or absent, private, one writer each.

The pattern is borg's SaveFile and restic's Local.Save: a temporary file in the same folder, flush, fsync, close,
`os.replace`, fsync of the folder. The temporary name is fixed (`.<name>.tmp`), so a killed writer leaves at most one,
which the next writer of the same file removes.
"""

import errno
import hashlib
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import filelock

from .errors import Failure, Paused, of_lock

FILE_MODE = 0o600       # faces are biometric data: the owner's eyes only
FOLDER_MODE = 0o700
CHUNK = 1 << 20         # bytes per read of a file: large enough to be disk-bound, small enough for any memory
HELD = 6                # tries, half a second apart, to replace a file that another program has open
LONGEST_LOG = 4 << 20   # bytes; a run writes some 100 lines
LAID_OUT = 2            # levels of a JSON file of which every member has a line
JSON_LIMIT = 1 << 30    # bytes; a larger JSON file is not one of ours


def private_folder(path: Path) -> Path:
    """Make `path` and its missing parents, each readable by the owner only."""
    missing = []
    folder = Path(path)
    while not folder.exists():
        if folder.is_symlink():
            raise Failure(f"{folder} links to {os.readlink(folder)}, which is not there; is a disk not mounted?")
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    if not Path(path).is_dir():
        raise Failure(f"{path} is in the way: a folder is needed there; move the file aside")
    return Path(path)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write; it takes the name `path` when the block ends well, and vanishes when it does not."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    private_folder(path.parent)
    try:
        temporary.unlink(missing_ok=True)       # and a new one: in a folder of several it may be another's link
        with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _replace(source: Path, target: Path) -> None:
    """os.replace, which Windows refuses while anybody has one of the two open, and virus scanners open what is new."""
    for _ in range(HELD):
        try:
            return os.replace(source, target)
        except PermissionError:
            time.sleep(0.5)
    os.replace(source, target)


def open_log(path: Path) -> IO[bytes]:
    """A private file to append to, unbuffered; one that has grown too long becomes <name>.1 first."""
    private_folder(path.parent)
    if path.exists() and path.stat().st_size > LONGEST_LOG:
        os.replace(path, path.with_name(path.name + ".1"))
    return open(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, FILE_MODE), "ab", buffering=0)


def sync_folder(path: Path) -> None:
    """Make renames in `path` survive a power cut. Windows has no such call and needs none; some shares refuse it."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO):  # CIFS, 9p; EIO: WSL issue 2557
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """UTF-8, keys in the order given, one trailing newline: the same value gives the same bytes."""
    write_bytes(path, (_laid_out(value) + "\n").encode("utf-8", "surrogatepass"))


def _laid_out(value: Any, pad: str = "\n") -> str:
    """A line for each member and for each of its members: json's own layout is made by slow code, value by value."""
    inner = pad + " "
    if len(pad) <= LAID_OUT and isinstance(value, dict) and value:
        members = (f"{_laid_out(str(name), inner)}: {_laid_out(item, inner)}" for name, item in value.items())
        return f"{{{inner}{f',{inner}'.join(members)}{pad}}}"
    if len(pad) <= LAID_OUT and isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return f"[{inner}{f',{inner}'.join(_laid_out(item, inner) for item in value)}{pad}]"
    return json.dumps(value, ensure_ascii=False)


def read_json(path: Path, schema: int | None = None, made_by: str = "") -> dict[str, Any]:
    """The object in `path`. Raises Failure, in words, if it is absent, no JSON object, or of another schema."""
    again = f"; run {made_by} again" if made_by else ""
    try:
        if os.path.getsize(path) > JSON_LIMIT:
            raise Failure(f"{path} is larger than {JSON_LIMIT >> 20} MB, so it is not ours{again}")
        value = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise Failure(f"{path} does not exist{again}") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is not valid JSON ({type(error).__name__}){again}") from None
    if not isinstance(value, dict):
        raise Failure(f"{path} holds no JSON object{again}")
    if schema is not None and value.get("schema") != schema:
        raise Failure(f"{path} has schema {value.get('schema')!r:.40}, this version reads {schema}{again}")
    return value


@contextmanager
def understood(path: Path, what: str, then: str = "") -> Iterator[None]:
    """For what reads a file of ours: whatever it stumbles over in one of another form is a Failure in words."""
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise Failure(f"{path} is not {what} ({type(error).__name__}: {error!s:.200}){then}") from None


def texts(item: dict[str, Any], *names: str) -> dict[str, str]:
    """These members of a JSON object. TypeError unless all of them are texts."""
    for name in names:
        if not isinstance(item[name], str):
            raise TypeError(f"{name} is no text")
    return {name: item[name] for name in names}


def link(source: Path, target: Path) -> None:
    """`target` becomes another name of the file `source`, or its copy where the file system has no links."""
    private_folder(target.parent)
    target.unlink(missing_ok=True)
    _link(source, target)


def link_all(source: Path, target: Path) -> None:
    """`link` for a file, or for a folder with everything in it, which is new then."""
    if source.is_symlink() or not source.is_dir():
        return link(source, target)
    shutil.copymode(source, private_folder(target))
    with os.scandir(source) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                link_all(Path(item), target / item.name)
            else:
                _link(item, os.path.join(target, item.name))


def _link(source: os.PathLike[str], target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with everything in it; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of the bytes, lowercase hex: the identity of a photo everywhere in this project.

    OSError for a pipe or device too, which would be waited on for ever.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, or raise Paused naming the run that holds it. `what` says who we are."""
    private_folder(Path(path).parent)
    lock = filelock.FileLock(path, mode=FILE_MODE)
    holder = Path(path).with_suffix(".holder")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        try:
            who = holder.read_text(encoding="utf-8").strip()
        except OSError:
            who = "another run"
        raise Paused(f"{who} is at work here; wait until it ends, then run the same command again") from None
    except OSError as error:
        raise of_lock(error, path) from None
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        write_bytes(holder, f"{what} (process {os.getpid()} on {socket.gethostname()}, since {started})\n".encode())
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()

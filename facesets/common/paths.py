"""Paths of WSL as Windows sees them.

    /mnt/x/a/b          ->  X:\\a\\b             drives; the mount root is that of /etc/wsl.conf
    /home/me            ->  \\\\wsl.localhost\\Ubuntu\\home\\me     everything else, in a known distribution
    //server/share/a    ->  \\\\server\\share\\a
A `shares` mapping covers what no rule can know: {"/mnt/nas": "X:"} for a share that both sides mount for themselves.
Case and trailing separators are kept.
"""

import configparser
import functools
import os
from collections.abc import Mapping
from pathlib import Path

from .errors import SettingsError

NO_SHARES: Mapping[str, str] = {}


def wsl_to_win(path: str | Path, *, distribution: str | None = None, root: str | None = None,
               shares: Mapping[str, str] = NO_SHARES) -> str:
    """`path` as Windows sees it, "" where it cannot see it (a relative path, or no WSL).

    distribution: name of the WSL distribution, by default ours ($WSL_DISTRO_NAME); root: where drives are mounted.
    """
    text = str(path)
    root = mount_root() if root is None else root
    distribution = os.environ.get("WSL_DISTRO_NAME", "") if distribution is None else distribution
    for ours, theirs in sorted(shares.items(), key=lambda pair: -len(pair[0])):
        rest = _below(text, ours)
        if rest is not None:
            return theirs.rstrip("\\/") + (_back(rest) or ("\\" if theirs.rstrip("\\/").endswith(":") else ""))
    if text.startswith("//") and not text.startswith("///"):
        return _back(text)
    drive, slash, rest = text.removeprefix(root).partition("/")
    if text.startswith(root) and len(drive) == 1 and drive.isascii() and drive.isalpha():
        return f"{drive.upper()}:\\" + _back(rest) if slash else f"{drive.upper()}:"
    if text.startswith("/") and distribution:
        return f"\\\\wsl.localhost\\{distribution}" + _back(text)
    return ""


def parse_shares(text: str) -> dict[str, str]:
    """"/mnt/nas=X:,/mnt/other=Y:\\\\photos" -> {"/mnt/nas": "X:", ...}."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if any(not ours.startswith("/") or not theirs for ours, _, theirs in pairs):
        raise SettingsError(f"FACESETS_WINDOWS_SHARES is {text!r}; a share is written /mnt/nas=X:")
    return {ours: theirs for ours, _, theirs in pairs}


@functools.cache
def mount_root(conf: str = "/etc/wsl.conf") -> str:
    """Where WSL mounts the drives, with a trailing slash: `automount.root` of /etc/wsl.conf, else /mnt/."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read(conf, encoding="utf-8")
        root = parser.get("automount", "root", fallback="/mnt/").strip().strip("\"'")
    except (configparser.Error, OSError, UnicodeDecodeError):
        root = "/mnt/"
    return root.rstrip("/") + "/" if root.startswith("/") else "/mnt/"


def _below(text: str, folder: str) -> str | None:
    """What follows `folder` in `text`, "" or from the slash on; None if `text` does not lie in it."""
    folder = folder.rstrip("/")
    rest = text[len(folder):]
    return rest if text.startswith(folder) and (not rest or rest.startswith("/")) else None


def _back(text: str) -> str:
    return text.replace("/", "\\")

"""The rules of the other side that the stubs share. FAKE_WINDOWS is the folder where its drives are "mounted"."""

import json
import os
import re
import sys
from pathlib import Path

MOUNTS = Path(os.environ.get("FAKE_WINDOWS", "/nowhere"))
DISTRIBUTION = "Stub"
LONGEST = 259       # characters of a path that Windows opens without the \\?\ prefix, as it is shipped


def is_windows(text: str) -> bool:
    return re.match(r"[A-Za-z]:\\|\\\\", text) is not None


def to_linux(text: str) -> str:
    """Where a Windows path lies on this machine. Raises FileNotFoundError as Windows would."""
    extended = text.startswith("\\\\?\\")
    if len(text) > LONGEST and not extended:
        raise FileNotFoundError(2, "The system cannot find the path specified", text)
    plain = text.removeprefix("\\\\?\\")
    host = f"\\\\wsl.localhost\\{DISTRIBUTION}\\"
    if plain.lower().startswith(host.lower()):
        return "/" + plain[len(host):].replace("\\", "/")
    if not re.match(r"[A-Za-z]:\\", plain) or not (MOUNTS / plain[0].lower()).is_dir():
        raise FileNotFoundError(2, "The system cannot find the drive specified", text)
    return str(MOUNTS / plain[0].lower() / plain[3:].replace("\\", "/"))


def to_windows(path: Path) -> str:
    if path.is_relative_to(MOUNTS) and path != MOUNTS:
        drive, *rest = path.relative_to(MOUNTS).parts
        if len(drive) == 1:
            return f"{drive.upper()}:\\" + "\\".join(rest)
    return f"\\\\wsl.localhost\\{DISTRIBUTION}" + str(path).replace("/", "\\")


def record(program: str) -> None:
    """Keep the command line for the tests."""
    with open(MOUNTS / "calls.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps([program, *sys.argv[1:]]) + "\n")


def speak_windows(encoding: str = "cp1252") -> None:
    """Text of a Windows program that writes to a pipe: CRLF, and not UTF-8."""
    sys.stdout.reconfigure(newline="\r\n", encoding=encoding)       # type: ignore[union-attr]
    sys.stderr.reconfigure(newline="\r\n", encoding=encoding)       # type: ignore[union-attr]

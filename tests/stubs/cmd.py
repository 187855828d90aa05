"""cmd.exe /c: finds the Pythons that FAKE_WINDOWS/pythons lists, one command line a line."""

import os
import subprocess
import sys
from pathlib import Path

import windows

windows.record("cmd.exe")
windows.speak_windows()
assert sys.argv[1] == "/c", sys.argv
words = sys.argv[2:]
if not Path.cwd().is_relative_to(windows.MOUNTS):
    print(f"'{windows.to_windows(Path.cwd())}'\nCMD.EXE was started with the above path as the current directory.\n"
          "UNC paths are not supported.  Defaulting to Windows directory.")
installed = [line.split() for line in (windows.MOUNTS / "pythons").read_text().splitlines()]
start = next((line for line in installed if words[:len(line)] == line), None)
if start is None:
    if words[0] == "python":        # the alias that opens the Store
        print("Python was not found; run without arguments to install from the Microsoft Store", file=sys.stderr)
        sys.exit(9009 % 256)
    print(f"'{words[0]}' is not recognized as an internal or external command,\noperable program or batch file.",
          file=sys.stderr)
    sys.exit(1)
rest = words[len(start):]
if rest[:2] == ["-m", "venv"]:
    scripts = Path(windows.to_linux(rest[2])) / "Scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts.parent / "pyvenv.cfg").write_text("home = C:\\Python312\r\n")
    (scripts.parent / "Lib").mkdir(exist_ok=True)
    python = scripts / "python.exe"
    shim = Path(__file__).with_name("win_python.py")
    python.write_text(f"#!/bin/sh\nFAKE_VENV='{scripts.parent}' exec '{sys.executable}' -I '{shim}' \"$@\"\n")
    python.chmod(0o755)
else:
    sys.exit(subprocess.run([sys.executable, "-I", *rest], env={"PATH": os.environ["PATH"]}).returncode)

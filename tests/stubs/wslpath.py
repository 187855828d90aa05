"""wslpath: -w of an existing path, -u of any. Real ones fail for a path that does not exist, so this one does."""

import sys
from pathlib import Path

import windows

option, text = sys.argv[1:]
if option == "-w":
    if not Path(text).exists():
        sys.exit(f"wslpath: {text}: No such file or directory")
    print(windows.to_windows(Path(text).absolute()))
else:
    try:
        print(windows.to_linux(text.replace("/", "\\")))
    except FileNotFoundError:
        sys.exit(f"wslpath: {text}: Invalid argument")

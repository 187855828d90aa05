"""powershell.exe: only icacls is asked of it."""

import sys

import windows

windows.record("powershell.exe")
windows.speak_windows()
assert sys.argv[1:3] == ["-NoProfile", "-Command"], sys.argv
print(f"processed file: {sys.argv[3].split(chr(39))[1]}")
print("Successfully processed 1 files; Failed processing 0 files")

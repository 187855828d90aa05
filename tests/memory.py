"""How much memory a process had at most. Its rusage begins with what its parent, full of tests, had at the fork."""

import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def peak_of(process: subprocess.Popen) -> Callable[[], int]:
    """Watch it; the answer, bytes, waits for its end."""
    most = [0]

    def watch() -> None:
        while process.poll() is None:
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
                most[0] = int(found[1]) << 10 if found else most[0]
            time.sleep(0.01)
    watching = threading.Thread(target=watch, daemon=True)
    watching.start()

    def peak() -> int:
        watching.join()
        assert most[0] > 10 << 20, "nothing was measured"
        return most[0]
    return peak

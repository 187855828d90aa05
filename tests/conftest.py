"""What all tests share: the checkout, and the data beside it, which some machines do not have."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from busy import LIMIT
from chromium import CHROMIUM, FLAGS
from hypothesis import HealthCheck, settings

# How long an example takes says what else the machine does; pytest-timeout ends what hangs.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A shell starts what it runs in the background with Ctrl-C ignored, and what a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Modules are compiled once, not by each of the thousand processes that the tests start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What the operator of this machine set, exported or in the `.env` of the checkout, steers no test.
ASKED = ("FACESETS_KILLS", "FACESETS_LONG_TESTS", "FACESETS_ALL_PHOTOS")
for name in [name for name in os.environ if name.startswith(("FACESETS_", "IMMICH_", "STAGE_DIR", "WIN_VENV"))]:
    if name not in ASKED:
        del os.environ[name]
os.environ["FACESETS_ENV_FILE"] = str(Path(__file__).with_name("no.env"))

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models, photos and recorded replies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent: no real models, photos or recorded replies here")
    return SHARED


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pack `opencv_zoo` in it, fetched as any user's machine fetches it."""
    from facesets.embed import packs
    folder = tmp_path_factory.mktemp("models")
    packs.open_pack("opencv_zoo", folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the test lock, is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=1000 * LIMIT)
        yield opened
        opened.close()

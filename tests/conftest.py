"""What all tests share: the checkout, and the data beside it, which some machines do not have."""

from pathlib import Path

import pytest

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

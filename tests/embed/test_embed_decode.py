"""Any input: every file of the corpus becomes the photo, upright, or a reason in words."""

import re
import resource
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from corpus import Case, make
from PIL import Image

from facesets.embed import decode


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Not the same upside down, mirrored or turned, so that a wrong rotation shows."""
    random = np.random.default_rng(1)
    pixels = cv2.resize(random.integers(0, 256, (5, 8, 3), np.uint8), (96, 60), interpolation=cv2.INTER_LINEAR)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def cases(tmp_path_factory, photo) -> list[Case]:
    return make(tmp_path_factory.mktemp("corpus"), photo)


def outcome(path: Path) -> tuple[np.ndarray | None, str]:
    try:
        return decode.read_upright(path), "pixels"
    except decode.Unreadable as error:
        return None, str(error)


def test_every_file_ends_as_upright_pixels_or_with_its_reason(cases, photo):
    wrong = []
    expected = cv2.cvtColor(np.asarray(photo), cv2.COLOR_RGB2GRAY).astype(float)
    for case in cases:
        pixels, found = outcome(case.path)
        if not re.search(case.outcome, found):
            wrong.append((case.path.name[:40], case.outcome, found))
        elif case.outcome == "pixels" and case.like:
            grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).astype(float)
            limit = 60 if "two-colours" in case.path.name else 12       # dithered; else what lossy formats lose
            if grey.shape != expected.shape or np.abs(cv2.blur(grey - expected, (5, 5))).mean() > limit:
                wrong.append((case.path.name[:40], "another picture", grey.shape))
    assert wrong == []
    assert len(cases) > 100


def test_pixels_are_those_that_opencv_reads_itself(cases):
    """InsightFace's users read with cv2.imread; where it reads a file at all, we read the same."""
    compared = 0
    for case in cases:
        if case.path.suffix in (".jpg", ".jpeg", ".png") and case.outcome == "pixels" and len(str(case.path)) < 250:
            theirs = cv2.imread(str(case.path), cv2.IMREAD_COLOR)
            if theirs is not None:
                np.testing.assert_array_equal(decode.read_upright(case.path), theirs, str(case.path))
                compared += 1
    assert compared > 20


def test_a_reason_is_one_short_line(cases):
    for case in cases:
        if case.outcome != "pixels":
            reason = outcome(case.path)[1]
            assert "\n" not in reason and 5 < len(reason) < 200 and reason.isprintable()


def test_declared_sizes_and_bombs_cost_no_memory(cases):
    """The limits are looked at before anything is decoded: 30,000 x 30,000 pixels would be 2.7 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in cases:
        if case.path.stem in ("declared", "bomb"):
            assert "more than" in outcome(case.path)[1]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000      # KiB


def test_huge_photos_are_decoded_one_at_a_time(monkeypatch, photo):
    """With a limit that counts this photo as huge, no two threads decode at once."""
    monkeypatch.setattr(decode, "HUGE_PIXELS", 10)
    inside, most, lock = 0, 0, threading.Lock()
    real = cv2.imdecode

    def counted(*arguments):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            return real(*arguments)
        finally:
            with lock:
                inside -= 1

    monkeypatch.setattr(decode.cv2, "imdecode", counted)
    data = cv2.imencode(".jpg", np.asarray(photo.resize((1200, 800))))[1].tobytes()
    threads = [threading.Thread(target=decode.decode, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_limit_on_bytes_is_looked_at_before_reading(tmp_path):
    sparse = tmp_path / "film.jpg"
    with open(sparse, "wb") as file:
        file.truncate(decode.MAX_BYTES + 1)
    with pytest.raises(decode.Unreadable, match="more than"):
        decode.read_upright(sparse)


def test_values_that_are_no_numbers_are_black_or_white_without_a_warning(tmp_path):
    values = np.array([[np.nan, np.inf, -np.inf, 100.0]], np.float32)
    values.view(np.uint32)[0, 0] = 0x7F800001       # the kind that a processor complains about
    Image.fromarray(values).save(tmp_path / "a.tif")
    with warnings.catch_warnings(action="error"):
        assert decode.read_upright(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255, 0, 100]

"""A device that is not here, played by device.py: shapes, turns, proof, and what happens when it goes away."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import people
import pytest
from busy import LIMIT
from device import Card

from facesets.common.errors import Failure, SettingsError
from facesets.embed import graph, lanes, packs, providers
from facesets.embed.analyser import GPU_BATCH, Analyser

LOST = ("[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Name:'Conv_0' "
        r"D:\a\_work\1\s\onnxruntime\core\providers\dml\DmlExecutionProvider\src\DmlCommandRecorder.cpp(371)\x "
        "Exception(3) tid(3a7c) 887A0005 The GPU device instance has been suspended. Use GetDeviceRemovedReason to "
        "determine the appropriate action.")


@pytest.fixture
def pack(shared) -> packs.Pack:
    return packs.open_pack(str(shared / "models/insightface_small"), Path())


@pytest.fixture
def offered(monkeypatch):
    """As if onnxruntime-directml were installed."""
    monkeypatch.setattr(onnxruntime, "get_available_providers",
                        lambda: ["DmlExecutionProvider", "CPUExecutionProvider"])


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    return people.photos(tmp_path / "photos", 30)


def run(analyser: Analyser, paths: list[Path], count: int = 4) -> list[lanes.Outcome]:
    return list(lanes.outcomes(people.queue(paths).entries, analyser, count))


def test_directml_gets_the_session_options_it_needs(pack, offered):
    card = Card()
    Analyser(pack, "dml", opener=card.open)
    assert [session.role for session in card.sessions] == ["detector", "recogniser"]
    for session in card.sessions:
        assert session.options.enable_mem_pattern is False
        assert session.options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        assert session.providers == ["DmlExecutionProvider", "CPUExecutionProvider"]


def test_a_device_sees_one_shape_one_caller_and_full_batches(pack, offered, paths):
    card = Card(faces=3, seconds={"detector": 0.002, "recogniser": 0.002})
    outcomes = run(Analyser(pack, "dml", opener=card.open), paths)
    assert len(outcomes) == 30 and all(len(outcome.faces) == 3 for outcome in outcomes)
    assert card.crowd == 1
    assert {shape for role, _, shape, _ in card.calls if role == "detector"} == {(1, 3, 640, 640)}
    batches = [shape for role, _, shape, _ in card.calls if role == "recogniser"][1:]      # the first asks for D
    assert set(batches) == {(GPU_BATCH, 3, 112, 112)}
    assert len(batches) <= -(-90 // GPU_BATCH) + 4      # at most one batch a lane is not full


def test_many_lanes_feed_one_device(pack, offered, paths):
    card = Card(seconds={"detector": 0.002, "recogniser": 0.002})
    run(Analyser(pack, "dml", opener=card.open), paths, count=4)
    assert len({caller for _, _, _, caller in card.calls[1:]}) > 1


def test_faces_and_embeddings_belong_together_whatever_the_batches(pack, offered, paths):
    """The stand-in's embedding depends on the face alone, so it must be the same with one lane and with five."""
    quick = {"detector": 0.0, "recogniser": 0.0}
    found = []
    for count in (1, 5):
        outcomes = run(Analyser(pack, "dml", opener=Card(faces=3, seconds=quick).open), paths, count)
        found.append({outcome.photo.path: outcome.raw for outcome in outcomes})
    assert found[0].keys() == found[1].keys()
    for path in found[0]:
        np.testing.assert_array_equal(found[0][path], found[1][path])


def test_photos_without_a_face_do_not_wait_for_a_batch_of_others(pack, offered, paths):
    """One face waits for seven more; what is found in the 29 photos after it is nothing, and that can be saved."""
    def look(session, number):
        card.faces = int(sum(call[0] == "detector" for call in card.calls) == 1)
        return ""

    card = Card(fails=look, seconds={"detector": 0, "recogniser": 0})
    statuses = [outcome.photo.status for outcome in run(Analyser(pack, "dml", opener=card.open), paths, count=1)]
    assert statuses == ["noface"] * 29 + ["faces"]


def test_a_silent_fall_to_the_cpu_is_an_error(pack, offered):
    with pytest.raises(Failure, match="fell back to CPUExecutionProvider"):
        Analyser(pack, "dml", opener=Card(falls_back=True).open)


def test_auto_falls_to_the_cpu_and_says_so(pack, offered):
    said: list[str] = []
    analyser = Analyser(pack, "auto", say=said.append, opener=Card(falls_back=True).open)
    assert analyser.provider == "cpu"
    assert len(said) == 1 and "dml does not start" in said[0]


def test_a_provider_that_is_not_installed_names_its_package(pack):
    with pytest.raises(SettingsError, match="onnxruntime-directml"):
        Analyser(pack, "dml")


def test_a_lost_device_gets_one_new_session_and_no_photo_is_lost(pack, offered, paths):
    said: list[str] = []
    card = Card(fails=lambda session, number: LOST if number == 10 else "", seconds={"detector": 0, "recogniser": 0})
    analyser = Analyser(pack, "dml", say=said.append, opener=card.open)
    outcomes = run(analyser, paths)
    assert {outcome.photo.status for outcome in outcomes} == {"faces"} and len(outcomes) == 30
    assert analyser.provider == "dml"
    assert len(analyser.detector.losses) + len(analyser.recogniser.losses) == 1
    assert len(said) == 1 and "opened again" in said[0]


def test_a_device_lost_twice_leaves_the_rest_to_the_cpu(pack, offered, paths):
    def fails(session, number):
        return LOST if session.role == "detector" and session.providers[0].startswith("Dml") and number > 9 else ""

    said: list[str] = []
    card = Card(fails=fails, seconds={"detector": 0, "recogniser": 0})
    analyser = Analyser(pack, "dml", say=said.append, opener=card.open)
    outcomes = run(analyser, paths)
    assert {outcome.photo.status for outcome in outcomes} == {"faces"} and len(outcomes) == 30
    assert analyser.detector.provider == "cpu"
    assert len(analyser.detector.losses) == 2
    assert "on the CPU" in said[-1]


def test_a_device_that_cannot_be_opened_again_leaves_the_rest_to_the_cpu(pack, offered, paths):
    card = Card(fails=lambda session, number: LOST if number == 5 else "", seconds={"detector": 0, "recogniser": 0})
    opened = []

    def once(source, options=None, providers=()):
        opened.append(providers)
        if len(opened) > 2 and providers[0].startswith("Dml"):
            raise RuntimeError("DXGI_ERROR_DEVICE_REMOVED")
        return card.open(source, options, providers)

    analyser = Analyser(pack, "dml", opener=once)
    assert {outcome.photo.status for outcome in run(analyser, paths)} == {"faces"}
    assert "cpu" in (analyser.detector.provider, analyser.recogniser.provider)


@pytest.mark.parametrize(("message", "lost"), [
    (LOST, True),
    ("887A0006 The GPU will not respond to more commands", True),
    ("CUDA failure 719: unspecified launch failure ; GPU=0", True),
    ("CUDNN_STATUS_EXECUTION_FAILED", True),
    ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: images", False),
    ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation", False),
])
def test_what_counts_as_a_lost_device(message, lost):
    assert bool(providers.DEVICE_LOST.search(message)) is lost


def test_an_error_that_is_not_of_the_device_is_the_photos(pack, offered, paths):
    card = Card(fails=lambda session, number: "bad allocation" if number == 7 else "",
                seconds={"detector": 0, "recogniser": 0})
    outcomes = run(Analyser(pack, "dml", opener=card.open), paths, count=1)
    broken = [outcome for outcome in outcomes if outcome.photo.status == "error"]
    assert len(outcomes) == 30 and len(broken) == 1
    assert "bad allocation" in broken[0].photo.reason


def test_open_axes_are_fixed_in_the_real_session(pack):
    """What DirectML needs, seen on the CPU: the session has no open axis left."""
    network = graph.read(pack.detector.path)
    options = providers.session_options(network, "dml", 1, {2: 640, 3: 640})
    session = onnxruntime.InferenceSession(network.source, options, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 640, 640]
    network = graph.read(pack.recogniser.path)
    options = providers.session_options(network, "dml", 1, {0: GPU_BATCH})
    session = onnxruntime.InferenceSession(network.source, options, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [GPU_BATCH, 3, 112, 112]


def doctor(folder, models_dir, checkout, module: str, source: str) -> subprocess.CompletedProcess[str]:
    """The doctor where a plugin is installed: a package `module` with that source."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    return subprocess.run([sys.executable, str(checkout / "embed_worker.py"), "--doctor", "--model", "opencv_zoo",
                           "--models-dir", str(models_dir)], capture_output=True, text=True, timeout=LIMIT,
                          env={**os.environ, "PYTHONPATH": str(folder)})


def test_a_plugin_that_does_not_load_is_said_and_the_run_goes_on_without_it(tmp_path, models_dir, checkout):
    done = doctor(tmp_path, models_dir, checkout, "onnxruntime_ep_webgpu",
                  "def get_library_path():\n    return '/nowhere/libwebgpu.so'\n")
    assert done.returncode == 0, done.stdout
    assert "plugin      webgpu: onnxruntime_ep_webgpu is installed, but does not load: " in done.stdout
    assert "/nowhere/libwebgpu.so" in done.stdout and "at work     cpu" in done.stdout


def test_the_doctor_lists_the_newer_package_of_directml_and_that_two_overwrite_another(tmp_path, models_dir, checkout):
    """onnxruntime-windowsml brings DmlExecutionProvider, as onnxruntime-directml does."""
    about = tmp_path / "onnxruntime_windowsml-1.30.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-windowsml\nVersion: 1.30.0\n")
    done = doctor(tmp_path, models_dir, checkout, "nothing", "")
    assert "onnxruntime-windowsml 1.30.0" in done.stdout.splitlines()[1]
    assert "onnxruntime and onnxruntime-windowsml overwrite each other" in done.stdout


def test_a_provider_that_leaves_the_whole_model_to_the_cpu_does_not_count_as_started(pack, offered):
    class Idle:
        """As a plugin that knows too few operators: it is there, and does nothing."""

        def __init__(self, source, options, providers):
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            self.get_providers = lambda: providers
            self.get_provider_graph_assignment_info = self.session.get_provider_graph_assignment_info
            self.run = self.session.run

    with pytest.raises(Failure, match="takes no part of the model"):
        Analyser(pack, "dml", opener=Idle)
    said: list[str] = []
    assert Analyser(pack, "auto", say=said.append, opener=Idle).provider == "cpu"
    assert len(said) == 1 and "dml does not start" in said[0]


def test_a_plugin_that_is_not_installed_or_not_usable_is_refused_by_name(pack, tmp_path, checkout):
    with pytest.raises(SettingsError, match="install onnxruntime-ep-webgpu beside it"):
        Analyser(pack, "webgpu")
    (tmp_path / "onnxruntime_ep_openvino.py").write_text("raise ImportError('libtbb.so.12 is missing')\n")
    code = "from facesets.embed import providers; providers.check('openvino')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{checkout}"})
    assert "does not load: libtbb.so.12 is missing; see docs/providers.md" in done.stderr
    code = ("from pathlib import Path; from facesets.embed import analyser, packs; print(analyser.Analyser("
            f"packs.open_pack({str(pack.detector.path.parent)!r}, Path()), 'auto', say=print).provider)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{checkout}"})
    said, provider = done.stdout.splitlines()
    assert said.startswith("openvino is not used: ") and provider == "cpu"

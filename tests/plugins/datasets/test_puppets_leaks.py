"""The leak guard: what is easy to measure must not give the emotion of a puppet clip away, and the true cues must.

Linear probes are trained on the train split and tested on the test split, as the main recipe would see them.
"""

import numpy as np
import pytest
from affectkit_plugins.datasets import puppets
from affectkit_plugins.datasets._puppets.emotion import EMOTIONS

pytestmark = pytest.mark.slow
LIMIT = 0.40


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Of each split: mean frame, mean log spectrum, file size, strongest action units, labels, evidence."""
    settings = puppets.Settings(count=1000, folder=str(tmp_path_factory.mktemp("puppets")))
    return {split: _measures(puppets.build(settings, split)) for split in ("train", "test")}


def _measures(samples):
    import av

    rows = {name: [] for name in ("frame", "sound", "size", "units", "label", "evidence")}
    window = np.hanning(512)
    for sample in samples:
        with av.open(str(sample.video)) as film:
            frames = np.stack([f.to_ndarray(format="rgb24") for f in film.decode(video=0)]).mean(0)
        with av.open(str(sample.video)) as film:
            wave = np.concatenate([f.to_ndarray()[0] for f in film.decode(audio=0)])
        spectra = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(wave, 512)[::160] * window)) ** 2
        rows["frame"].append(frames.reshape(24, 4, 24, 4, 3).mean((1, 3)).ravel() / 255)
        rows["sound"].append(np.log(spectra[:, 1:].reshape(len(spectra), 64, 4).mean(2) + 1e-4).mean(0))
        rows["size"].append([sample.video.stat().st_size, np.log(sample.video.stat().st_size)])
        rows["units"].append(np.sort(sample.fact("action_units").value, axis=0)[-5])
        rows["label"].append(EMOTIONS.index(sample.label))
        rows["evidence"].append(sample.fact("evidence").value)
    return {name: np.array(values) for name, values in rows.items()}


def _uar(clips, name, evidence=None, strength=0.03):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kept = {s: np.isin(c["evidence"], evidence or ("face", "voice", "words", "all")) for s, c in clips.items()}
    train, test = clips["train"], clips["test"]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))
    probe.fit(train[name][kept["train"]], train["label"][kept["train"]])
    return balanced_accuracy_score(test["label"][kept["test"]], probe.predict(test[name][kept["test"]]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["frame", "sound", "size"])
def test_linear_probes_find_little(clips, name):
    for strength in (0.001, 0.03, 1.0):
        assert _uar(clips, name, strength=strength) < LIMIT


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_action_units_tell_the_emotion(clips):
    assert _uar(clips, "units", evidence=("face", "all"), strength=30.0) > 0.97

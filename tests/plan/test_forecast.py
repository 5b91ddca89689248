"""How large the feature cache gets, said before anything runs."""

from dataclasses import replace

import pytest
import tiny_run
from faults import BASE

from affectkit.plan.check import check
from affectkit.plan.forecast import forecast, forecast_rows, size_text


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def of(*overrides, text=BASE, data=True, learns=None):
        (tmp_path / "a.yaml").write_text(text)
        plan = check("a.yaml", overrides, data=data)
        found = forecast(replace(plan, learns=None if learns is None else frozenset(learns)))
        return {(k.name, i): (k.bytes, k.samples) for i, k in enumerate(found)}

    return of


def test_bytes_are_numbers_and_one_truth_a_token(kept):
    """BASE: 4 face crops of 16 patches 64 wide; 2 s of sound in 50 tokens of 256; 1,000 puppets, 700 / 100 / 200."""
    plan = check("a.yaml") if kept() else None
    patches = plan.graph.steps["face.encoder"].shapes["patches"]
    frames = plan.graph.steps["voice.encoder"].shapes["frames"]
    found = list(kept().items())
    assert found[0][1] == (4 * patches.tokens * (4 * patches.width + 1), 800)
    assert found[1][1] == (frames.tokens * (4 * frames.width + 1), 800)
    assert [name for (name, _), _ in found] == ["face.encoder", "voice.encoder", "face.projector", "voice.projector"]
    assert found[2][1][1] == 200, "the evaluation keeps the ends of streams"


def test_what_trains_is_not_kept_but_what_it_looks_at(kept):
    found = {name: sizes for (name, _), sizes in kept("stages.train.train=[streams.*, backbone.model]").items()}
    side = check("a.yaml").graph.steps["face.encoder"].settings.size
    assert found["face.encoder:pixels"] == (4 * (3 * side * side + 25), 800)
    assert "face.encoder" not in found
    assert found["voice.encoder:wave"][0] >= 2 * 16000 * 4
    known = {
        name
        for name, _ in kept(
            "stages.train.train=[streams.*, backbone.model]", learns=["face.encoder", "voice.projector"]
        )
    }
    assert "voice.encoder" in known, "a step without parameters is frozen whatever a glob says"


def test_stages_share_what_has_the_same_weights(kept):
    more = BASE.replace("stages:\n", "stages:\n  before: {train: [streams.*.projector]}\n")
    assert list(kept(text=more).values()) == list(kept().values())
    other = more.replace("projector]}", "projector], data: {use: puppets, count: 50}}")
    assert next(iter(kept(text=other).values()))[1] == 800 + 40
    flipped = kept("views.frames.flip=random")
    assert next(iter(flipped.values()))[1] == 2 * 700 + 100


def test_nothing_is_kept_of_a_stream_without_cache(kept):
    names = {name for name, _ in kept("streams.face.cache=none")}
    assert not any(name.startswith("face") for name in names)


def test_data_that_says_nothing_leaves_the_number_open(kept):
    assert {samples for _, samples in kept(data=False).values()} == {None}
    rows = forecast_rows(forecast(check("a.yaml")))
    assert rows[0][3:] == ["?", "?"]
    assert rows[-1][0] == "in all"
    assert [size_text(n) for n in (None, 12, 1234, 2_345_678, 3e9)] == ["?", "12 bytes", "1.2 kB", "2.3 MB", "3.0 GB"]


@pytest.mark.slow
def test_a_run_keeps_what_was_forecast(tmp_path, monkeypatch):
    from safetensors import safe_open

    from affectkit.api import fit
    from affectkit.model.sizes import build_on_meta

    recipe = tiny_run.write_recipe(tmp_path)
    cache = tmp_path / "cache"
    words = [f"run.folder={tmp_path}/runs", f"run.cache={cache}", "score.reasons=0"]
    plan = check(recipe, words, data=True)
    _, known = build_on_meta(plan)
    said = sum(k.total for k in forecast(known) if k.cache == "disk")
    fit(recipe, words, say=lambda _: None)
    real = 0
    for shard in (cache / "features").rglob("*.safetensors"):
        with safe_open(shard, "pt") as opened:
            real += sum(t.numel() * t.element_size() for t in map(opened.get_tensor, opened.keys()))
    assert 0.8 * said < real <= said

"""Heads against torch and scikit-learn, and what they refuse."""

import math

import pytest
import torch
from affectkit_plugins.heads import _linear_net as linear
from affectkit_plugins.heads import classifier, linear_probe, multi_label, nearest_mean, regression
from affectkit_plugins.heads._scorer import ScorerSettings
from affectkit_plugins.heads.classifier_net import Classifier
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from affectkit import InputError, Sample, Shape, Targets, TokenBlock
from affectkit.errors import RunError
from affectkit.sample import Fact

LABELS = ("happy", "sad", "angry")
TARGETS = Targets(LABELS, {"valence": (1.0, 5.0), "arousal": (-math.inf, math.inf)})
INPUTS = {"tokens": (Shape(time=1, tokens=2, width=4),)}


def block(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TokenBlock(
        "tokens", torch.randn(rows, 1, 2, 4, generator=generator), torch.ones(rows, 1, 2, dtype=torch.bool)
    )


def test_a_classifier_sums_cross_entropy_over_the_rows_with_a_label():
    head = classifier.build(classifier.Settings(smoothing=0.1), INPUTS, TARGETS).eval()
    out = head((block(3),))
    samples = [Sample("a", label="sad"), Sample("b"), Sample("c", label="angry")]
    total, count = head.loss(out, samples)
    scores = out["scores"].tokens[[0, 2], 0, 0]
    assert count == 2
    assert torch.allclose(total, cross_entropy(scores, torch.tensor([1, 2]), reduction="sum", label_smoothing=0.1))
    best = head.answers(out)[0].scores
    assert list(best) == list(LABELS)
    assert max(best, key=best.get) == LABELS[int(out["scores"].tokens[0].argmax())]


def test_several_labels_are_a_set_or_shares():
    out = {
        "scores": TokenBlock(
            "scores", torch.tensor([[2.0, -2.0, 0.5], [-1, -2, -3]])[:, None, None], torch.ones(2, 1, 1) > 0
        )
    }
    samples = [Sample("a", labels={"happy": 0.75, "angry": 0.25}), Sample("b", label="sad")]
    sets = multi_label.build(multi_label.Settings(), INPUTS, TARGETS)
    wanted = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    scores = out["scores"].tokens[:, 0, 0]
    total, count = sets.loss(out, samples)
    assert count == 2
    assert torch.allclose(total, binary_cross_entropy_with_logits(scores, wanted, reduction="none").mean(1).sum())
    assert [a.labels for a in sets.answers(out)] == [
        ("happy", "angry"),
        ("happy",),
    ]  # the likeliest where none is likely
    strict = multi_label.build(multi_label.Settings(at_least_one=False), INPUTS, TARGETS)
    assert strict.answers(out)[1].labels == ()
    shares = multi_label.build(multi_label.Settings(answer="shares"), INPUTS, TARGETS)
    total, _ = shares.loss(out, samples)
    assert torch.allclose(total, cross_entropy(scores, torch.tensor([[0.75, 0, 0.25], [0, 1, 0]]), reduction="sum"))
    assert math.isclose(sum(shares.answers(out)[0].scores.values()), 1.0)


def test_ratings_are_scaled_by_their_ends_and_those_that_lack_are_left_out():
    out = {
        "scores": TokenBlock("scores", torch.tensor([[0.5, 1.0], [-2.0, 0.0]])[:, None, None], torch.ones(2, 1, 1) > 0)
    }
    head = regression.build(regression.Settings(), INPUTS, TARGETS)
    assert [dict(a.numbers) for a in head.answers(out)] == [
        {"valence": 4.0, "arousal": 1.0},
        {"valence": -1.0, "arousal": 0.0},
    ]
    clipped = regression.build(regression.Settings(clip=True), INPUTS, TARGETS)
    assert clipped.answers(out)[1].numbers["valence"] == 1.0
    samples = [Sample("a", numbers={"valence": 5.0}), Sample("b", numbers={"valence": 3.0, "arousal": 2.0})]
    total, count = head.loss(out, samples)
    assert count == 2
    assert math.isclose(float(total), (0.5 - 1) ** 2 + ((-2 - 0) ** 2 + (0 - 2) ** 2) / 2, rel_tol=1e-6)
    nan = [Sample("a", numbers={"valence": math.nan}), Sample("b", numbers={"valence": 3.0})]
    assert head.loss(out, nan)[1] == 1
    ccc = regression.build(regression.Settings(loss="ccc", numbers=("valence",)), INPUTS, TARGETS)
    same = {"scores": TokenBlock("scores", torch.tensor([[1.0], [0.0]])[:, None, None], torch.ones(2, 1, 1) > 0)}
    assert float(ccc.loss(same, samples)[0]) < 1e-6


def data(count=120, width=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, generator=generator, dtype=torch.float64)
    way = torch.randn(width, 3, generator=generator, dtype=torch.float64)
    classes = (x @ way + torch.randn(count, 3, generator=generator, dtype=torch.float64)).argmax(1)
    return x, classes


@pytest.mark.parametrize("strength", [0.5, 30.0])
@pytest.mark.parametrize("width", [12, 200])  # fewer values than rows, and more
def test_the_probe_is_scikit_learns_logistic_regression(strength, width):
    from sklearn.linear_model import LogisticRegression

    x, classes = data(width=width)
    weight, bias = linear.solve(x, one_hot(classes, 3).double(), strength, linear_probe.Settings())
    theirs = LogisticRegression(C=1 / strength, class_weight="balanced", max_iter=10_000, tol=1e-10).fit(x, classes)
    assert abs(weight.numpy() - theirs.coef_).max() < 2e-4
    level = bias.numpy() - theirs.intercept_
    assert abs(level - level.mean()).max() < 1e-3


def test_ratings_are_scikit_learns_ridge_regression_each_from_its_own_rows():
    from sklearn.linear_model import Ridge

    x, _ = data()
    y = torch.stack([x[:, 0] - x[:, 1], x[:, 2] * 2 + 1], 1)
    y[:20, 1] = math.nan
    weight, bias = linear.solve(x, y, 3.0, linear_probe.Settings(answer="numbers"))
    for k, rows in ((0, slice(0, None)), (1, slice(20, None))):
        theirs = Ridge(alpha=3.0).fit(x[rows], y[rows, k])
        assert abs(weight[k].numpy() - theirs.coef_).max() < 1e-9
        assert abs(float(bias[k]) - theirs.intercept_) < 1e-9


def test_folds_part_people_and_the_strength_is_chosen_by_those_held_out():
    people = linear.groups([f"p{i // 6}" for i in range(60)])
    folds = list(linear._folds(people, 5))
    assert sorted(i for _, test in folds for i in test.tolist()) == list(range(60))
    for train, test in folds:
        assert not set(people[train].tolist()) & set(people[test].tolist())
    # nobody could be held out
    assert len({*linear.groups(["p"] * 6).tolist()}) == len({*linear.groups([None] * 6).tolist()}) == 6
    # A person's rows that are alike but for the label of the person: whoever looks at the same person overfits to it.
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(10, 40, generator=generator, dtype=torch.float64).repeat_interleave(6, 0)
    y = one_hot(torch.arange(10).repeat_interleave(6) % 3, 3).double()
    settings = linear_probe.Settings()
    assert linear.choose(own, y, people, settings).quality < 0.75
    assert linear.choose(own, y, torch.arange(60), settings).quality == 1.0


def samples(classes):
    return [
        Sample(str(i), label=LABELS[c], facts={"person": Fact(str(i // 2))}) for i, c in enumerate(classes.tolist())
    ]


def features(x, classes, batch=16):
    tokens = x.float().reshape(len(x), 1, 2, -1)
    mask = torch.ones(len(x), 1, 2, dtype=torch.bool)
    every = samples(classes)
    return lambda: [
        ({"tokens": (TokenBlock("tokens", tokens[i : i + batch], mask[i : i + batch]),)}, every[i : i + batch])
        for i in range(0, len(x), batch)
    ]


def test_the_probe_reads_tokens_side_by_side_where_their_place_tells():
    """The mean of both tokens says nothing here: the second undoes the first."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(90, 6, generator=generator, dtype=torch.float64)
    x = torch.cat([first, -first], 1)
    classes = (first[:, 0] > 0).long()
    head = linear_probe.build(linear_probe.Settings(), {"tokens": (Shape(time=1, tokens=2, width=6),)}, TARGETS)
    head.fit(features(x, classes))
    assert head.chosen["tokens"] == "all"
    assert head.chosen["folds by person"] is True
    (ports, every), *_ = features(x, classes)()
    answers = head.answers(head(**ports))
    right = [max(a.scores, key=a.scores.get) == s.label for a, s in zip(answers, every, strict=True)]
    assert sum(right) >= 15


def test_the_nearest_mean_is_scikit_learns_nearest_centroid():
    from sklearn.neighbors import NearestCentroid
    from sklearn.preprocessing import StandardScaler

    x, classes = data(90, 12)
    head = nearest_mean.build(
        nearest_mean.Settings(pool="all"), {"tokens": (Shape(time=1, tokens=2, width=6),)}, TARGETS
    )
    head.fit(features(x, classes))
    scaled = StandardScaler().fit_transform(x.float())
    theirs = NearestCentroid().fit(scaled, classes).predict(scaled)
    ours = [
        LABELS.index(max(a.scores, key=a.scores.get))
        for ports, _ in features(x, classes)()
        for a in head.answers(head(**ports))
    ]
    assert ours == theirs.tolist()


@pytest.mark.parametrize("head", [linear_probe, nearest_mean])
def test_one_class_is_nothing_to_tell_apart(head):
    made = head.build(head.Settings(), {"tokens": (Shape(time=1, tokens=2, width=6),)}, TARGETS)
    x, classes = data(20, 12)
    with pytest.raises(RunError, match="20 training samples with features have 1 of the labels happy, sad, angry"):
        made.fit(features(x, classes * 0))


def test_targets_that_are_not_there_are_named():
    with pytest.raises(InputError, match="a label set of at least two, and the data has only 'happy'"):
        classifier.build(classifier.Settings(), INPUTS, Targets(("happy",)))
    with pytest.raises(InputError, match="the data has no ratings"):
        regression.build(regression.Settings(), INPUTS, Targets(LABELS))
    with pytest.raises(InputError, match=r"unknown rating 'valance'.*\n.*valence.*\n.*did you mean 'valence'"):
        regression.build(regression.Settings(numbers=("valance",)), INPUTS, TARGETS)


def test_attention_over_senses_is_the_published_form():
    """Of the description of MERBench's code, spelled out: a sense through dropout and three layers with ReLU, all of them side by
    side through three more, a weight a sense without a soft-max, their weighted sum, one linear layer."""
    torch.manual_seed(0)
    settings = ScorerSettings(norm="none", fusion="attention", common=6, dropout=0.0)
    head = Classifier(settings, (4, 5, 3), ("a", "b"))
    blocks = tuple(
        TokenBlock(str(d), torch.randn(7, 2, 3, d), torch.ones(7, 2, 3, dtype=torch.bool)) for d in (4, 5, 3)
    )

    def mlp(layers, x):
        for layer in (m for m in layers if isinstance(m, torch.nn.Linear)):
            x = (x @ layer.weight.T + layer.bias).clamp(min=0)
        return x

    each = [mlp(s, b.tokens.mean((1, 2))) for s, b in zip(head.fusion.senses, blocks, strict=True)]
    weights = head.fusion.weigh(mlp(head.fusion.mix, torch.cat(each, 1)))
    wanted = head.layers[-1](sum(weights[:, i, None] * h for i, h in enumerate(each)))
    assert (weights < 0).any()
    torch.testing.assert_close(head(blocks)["scores"].tokens[:, 0, 0], wanted)
    # a sense that a row lacks adds nothing, whatever lies in its tokens
    mask = blocks[0].mask.clone()
    mask[3] = False
    for filling in (0.0, 9.0):
        tokens = blocks[0].tokens.clone()
        tokens[3] = filling
        found = head((TokenBlock("4", tokens, mask), *blocks[1:]))["scores"]
        none = [torch.zeros_like(each[0][3:4]), each[1][3:4], each[2][3:4]]
        own = head.fusion.weigh(mlp(head.fusion.mix, torch.cat(none, 1)))
        torch.testing.assert_close(
            found.tokens[3, 0], head.layers[-1](sum(own[:, i, None] * h for i, h in enumerate(none)))
        )


def test_dropout_of_attention_lies_before_its_layers_only():
    head = Classifier(ScorerSettings(fusion="attention", dropout=0.5, hidden=(4,)), (4, 5), ("a", "b"))
    drops = {name: m.p for name, m in head.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert {name for name, p in drops.items() if p} == {"fusion.senses.0.0", "fusion.senses.1.0", "fusion.mix.0"}

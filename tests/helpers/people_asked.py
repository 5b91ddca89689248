"""People asked, for several test files."""

from affectkit.evaluation import bias
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.score import Scoring
from affectkit.registry import Registry

LABELS = ("happy", "sad")


def metrics(*names):
    registry = Registry.load()
    return {n: registry.piece("metric", n).build(registry.piece("metric", n).settings()) for n in names}


HOW = Scoring(metrics("uar", "war"), LABELS, 0, 400)


def answers(rows):
    """(id, truth, answer) as predictions."""
    return [Prediction(i, "label", "scored", truth, label=answer) for i, truth, answer in rows]


def people(words, origin="label"):
    return bias.People(words, dict.fromkeys(words, origin))

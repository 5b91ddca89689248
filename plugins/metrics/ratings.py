"""Errors and correlations of ratings: CCC, Pearson's correlation, mean absolute and root mean squared error."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.metrics._ratings import CCC, MAE, PEARSON, RMSE, RatingMetric, RatingSettings

from affectkit.pieces import Piece, hookimpl


@dataclass(frozen=True)
class CccSettings(RatingSettings):
    """Concordance correlation coefficient, mean of the ratings (Lin, Biometrics 1989): the figure of valence and arousal.

    2 cov / (variances + squared difference of means), with population variances, over all samples and not a mean over
    clips. Of a constant side it is 0, and the result says so. An answer without a number is left out and counted.
    """


@dataclass(frozen=True)
class PearsonSettings(RatingSettings):
    """Pearson's correlation of ratings, mean of the ratings.

    It is blind to shift and scale: read CCC or the mean absolute error beside it. Of a constant side there is none, and
    the result says so. An answer without a number is left out and counted.
    """


@dataclass(frozen=True)
class MaeSettings(RatingSettings):
    """Mean absolute error of ratings on their own scale, mean of the ratings; lower is better.

    An answer without a number is left out and counted, never taken for 0.
    """


@dataclass(frozen=True)
class RmseSettings(RatingSettings):
    """Root mean squared error of ratings on their own scale, mean of the ratings; lower is better.

    An answer without a number is left out and counted, never taken for 0.
    """


def build_ccc(settings: CccSettings) -> RatingMetric:
    """A metric on predictions with true numbers; see `affectkit.evaluation.prediction.Metric`."""
    return RatingMetric(CCC, "concordance correlation over all samples", settings.numbers, constant="the CCC is 0")


def build_pearson(settings: PearsonSettings) -> RatingMetric:
    """A metric on predictions with true numbers; see `affectkit.evaluation.prediction.Metric`."""
    return RatingMetric(PEARSON, "Pearson's correlation", settings.numbers, constant="there is no correlation")


def build_mae(settings: MaeSettings) -> RatingMetric:
    """A metric on predictions with true numbers; see `affectkit.evaluation.prediction.Metric`."""
    return RatingMetric(MAE, "mean absolute error, lower is better", settings.numbers, higher_is_better=False)


def build_rmse(settings: RmseSettings) -> RatingMetric:
    """A metric on predictions with true numbers; see `affectkit.evaluation.prediction.Metric`."""
    return RatingMetric(RMSE, "root mean squared error, lower is better", settings.numbers, higher_is_better=False)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece("metric", "ccc", CccSettings, build_ccc),
        Piece("metric", "pearson", PearsonSettings, build_pearson),
        Piece("metric", "mae", MaeSettings, build_mae),
        Piece("metric", "rmse", RmseSettings, build_rmse),
    ]

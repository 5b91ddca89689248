"""Pictures of a report as PNG or JPEG bytes: confusion matrix, truth and answer, reliability, loss curves, frames."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.data import image as images
from affectkit.data import video as videos
from affectkit.evaluation.figures import CalibrationBin
from affectkit.files import media_kind
from affectkit.report.results import CurveRow

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BLUE, ORANGE = "#1d2733", "#667385", "#2563a8", "#d1711c"
OTHERS = ("#3b8f5a", "#8a4fa3", "#b0413e", "#6b7f1f", "#1f8a8a")
"""Colours of what stands beside the main curves."""


def confusion_picture(labels: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[int]]) -> bytes:
    """PNG: counts in the cells, colour by the share of the row. A last column of no counts is left out."""
    import numpy as np

    counts = np.asarray(rows, dtype=np.int64).reshape(len(labels), len(columns))
    if len(columns) > len(labels) and not counts[:, len(labels) :].any():
        columns, counts = columns[: len(labels)], counts[:, : len(labels)]
    few = len(columns) <= 12
    size = 0.5 if few else 0.38
    figure, axes = _figure(max(3.4, size * len(columns) + 1.1), max(2.6, size * len(labels) + 1.0))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    words = [[str(number) if number else "" for number in row] for row in counts]
    _heat_map(axes, (labels, columns), share, words, fontsize=9 if few else 7)
    axes.set_xlabel("answer (colour: share of the row)", color=QUIET, fontsize=8.5)
    axes.set_ylabel("truth", color=QUIET, fontsize=8.5)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(labels)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    return _png(figure)


def matrix_picture(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    framed: Sequence[Sequence[bool]],
) -> bytes:
    """PNG: figures from 0 to 1 in cells, darker is higher; framed cells stand out, cells without a figure are blank."""
    import numpy as np
    from matplotlib.patches import Rectangle

    shown = np.array([[0.0 if v is None else v for v in row] for row in values], float).reshape(len(rows), len(columns))
    figure, axes = _figure(max(3.0, 0.85 * len(columns) + 1.6), max(1.6, 0.5 * len(rows) + 1.1))
    words = [["" if v is None else f"{v:.2f}" for v in row] for row in values]
    _heat_map(axes, (rows, columns), shown, words, fontsize=9)
    for i, j in np.argwhere(framed):
        axes.add_patch(Rectangle((j - 0.47, i - 0.44), 0.94, 0.88, fill=False, edgecolor=ORANGE, linewidth=1.6))
    return _png(figure)


def _heat_map(
    axes: Axes,
    names: tuple[Sequence[str], Sequence[str]],
    shades: np.ndarray,
    words: Sequence[Sequence[str]],
    fontsize: int,
) -> None:
    """Cells [rows, columns] with words in them, coloured by shades from 0 to 1; `names` are those of rows and of columns."""
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(names[1])), names[1], rotation=40, ha="left")
    axes.set_yticks(range(len(names[0])), names[0])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, colors=INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for i, row in enumerate(words):
        for j, word in enumerate(row):
            if word:
                shade = "white" if shades[i, j] > 0.55 else INK
                axes.text(j, i, word, ha="center", va="center", color=shade, fontsize=fontsize)


def scatter_picture(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """PNG: a panel a rating, truth across and answer up, on one scale with the diagonal."""
    from matplotlib.figure import Figure

    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    figure = Figure(figsize=(2.7 * across, 2.7 * down), dpi=192, layout="constrained")
    for place, (name, found) in enumerate(pairs.items(), 1):
        axes = figure.add_subplot(down, across, place)
        truth, answer = zip(*found, strict=True)
        low, high = min(*truth, *answer), max(*truth, *answer)
        room = (high - low) * 0.05 or 0.5
        ends = (low - room, high + room)
        axes.plot(ends, ends, color=QUIET, linewidth=0.8, linestyle="--")
        axes.scatter(truth, answer, s=9, color=BLUE, alpha=max(0.15, min(0.7, 60 / len(found))), linewidths=0)
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_aspect("equal")
        _plain(axes, name, "truth", "answer")
    return _png(figure)


def reliability_picture(bins: Sequence[CalibrationBin], mended: Sequence[CalibrationBin] = ()) -> bytes:
    """PNG: accuracy by confidence with the diagonal, and below how many answers each bin holds; `mended` are the bins after
    temperature scaling."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.9), dpi=192, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot((0, 1), (0, 1), color=QUIET, linewidth=0.8, linestyle="--")
    for name, some, colour in (("as it is", bins, BLUE), ("after scaling", mended, ORANGE)):
        if some:
            points = sorted((one.confidence, one.accuracy) for one in some)
            upper.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3.5, linewidth=1.4, label=name)
    for one in bins:
        lower.bar((one.low + one.high) / 2, one.count, 0.9 * (one.high - one.low), color=BLUE, alpha=0.6)
        lower.annotate(
            str(one.count), ((one.low + one.high) / 2, one.count), ha="center", va="bottom", fontsize=6, color=QUIET
        )
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    lower.margins(y=0.25)
    if mended:
        upper.legend(fontsize=7.5, frameon=False, labelcolor=QUIET)
    _plain(upper, "", "", "share right")
    _plain(lower, "", "confidence", "answers")
    return _png(figure)


def coverage_picture(curve: Sequence[tuple[float, float]]) -> bytes:
    """PNG: the share of wrong answers among the surest, by the share of answers that these are."""
    figure, axes = _figure(3.6, 3.0)
    share, risk = zip(*curve, strict=True)
    axes.plot(share, risk, color=BLUE, linewidth=1.6)
    axes.fill_between(share, risk, color=BLUE, alpha=0.12, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(0.05, *risk) * 1.1)
    _plain(axes, "", "coverage: share of answers, the surest first", "share of wrong ones among them")
    return _png(figure)


def _plain(axes: Axes, name: str, across: str, up: str) -> None:
    """Names, and lines no stronger than they need be."""
    axes.set_title(name, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(across, fontsize=8, color=QUIET)
    axes.set_ylabel(up, fontsize=8, color=QUIET)
    axes.tick_params(labelsize=8, colors=QUIET)
    axes.grid(color="#e9edf2", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#cdd5de")


def losses(rows: Iterable[CurveRow], stage: str, kind: str, name: str = "") -> list[tuple[int, float]]:
    """Step and loss of a stage's rows that have both, in their order; `kind` is `train` or `val`, `name` that of one of several
    losses."""
    own = [row for row in rows if (row.stage, row.kind) == (stage, kind)]
    points = [(row.step, (row.losses or {}).get(name) if name else row.loss) for row in own]
    return [(step, loss) for step, loss in points if step is not None and loss is not None]


def loss_names(rows: Iterable[CurveRow], stage: str) -> list[str]:
    """The losses of a stage that has several."""
    return list(dict.fromkeys(name for row in rows if row.stage == stage for name in row.losses or ()))


def curves_picture(rows: Sequence[CurveRow]) -> bytes | None:
    """PNG: one panel a stage, training loss and validation loss over steps, and each of several losses by itself; None without
    any."""
    from matplotlib.figure import Figure

    named = dict.fromkeys(row.stage for row in rows)
    stages = {stage: [sorted(losses(rows, stage, kind)) for kind in ("train", "val")] for stage in named}
    stages = {stage: curves for stage, curves in stages.items() if any(curves)}
    if not stages:
        return None
    across = min(4, len(stages))
    down = -(-len(stages) // across)
    figure = Figure(figsize=(2.9 * across if across > 2 else 3.6 * across, 2.4 * down), dpi=192, layout="constrained")
    for place, (stage, (train, val)) in enumerate(stages.items(), 1):
        axes = figure.add_subplot(down, across, place)
        _curve(axes, train, "train", BLUE)
        for colour, name in zip(cycle(OTHERS), loss_names(rows, stage), strict=False):
            _curve(axes, sorted(losses(rows, stage, "train", name)), name, colour, 1.0)
        if val:
            points = zip(*val, strict=True)
            axes.plot(*points, color=ORANGE, linewidth=1.4, marker="o", markersize=3.5, label="validation")
        axes.set_ylim(bottom=0)
        _plain(axes, stage, "step", "loss")
        axes.legend(fontsize=7.5, frameon=False, labelcolor=QUIET)
    return _png(figure)


def _curve(axes: Axes, points: Sequence[tuple[int, float]], label: str, colour: str, width: float = 1.6) -> None:
    """A line through losses by step; a running mean of many, before the losses themselves."""
    if not points:
        return
    steps, values = zip(*points, strict=True)
    if len(points) > 30:
        axes.plot(steps, values, color=colour, linewidth=width / 2, alpha=0.3)
        label = f"{label}, smoothed"
    axes.plot(steps, _smooth(values) if len(points) > 30 else values, color=colour, linewidth=width, label=label)


def _smooth(values: Sequence[float]) -> np.ndarray:
    """A running mean over about a twentieth of the curve, centred, narrower at the ends."""
    import numpy as np

    window = np.ones(2 * max(1, len(values) // 40) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def frames_for(
    path: str | Path, count: int = 3, height: int = 160, span: images.TimeSpan = (None, None)
) -> list[bytes]:
    """JPEGs to recognise a media file by: `count` frames of a clip, a still, or the wave of a sound file; of a clip or a sound
    those in `span`, (start, end) in seconds.

    Raises MediaError where the file is missing or cannot be read.
    """
    path = Path(path)
    if media_kind(path) == "image":
        return [_jpeg(images.read_still(path), height)]
    if videos.probe(path).size is None:
        sound = videos.read(path, rate=8000, span=span).sound
        return [] if sound is None else [_jpeg(_wave(sound), height)]
    spread = videos.read(path, lambda total: {total * (2 * i + 1) // (2 * count) for i in range(count)}, span=span)
    return [_jpeg(frame, height) for frame in spread.frames.values()]


def _wave(sound: np.ndarray, width: int = 420, height: int = 110) -> np.ndarray:
    """The loudest and softest sample of each stretch of sound [a], drawn as a picture uint8 [h, w, 3]."""
    import numpy as np

    picture = np.full((height, width, 3), 16, np.uint8)
    for x, part in enumerate(np.array_split(sound, width)):
        if part.size:
            low, high = (int(height / 2 - height / 2 * np.clip(v, -1, 1) * 0.95) for v in (part.max(), part.min()))
            picture[max(0, low) : high + 1, x] = (138, 180, 226)
    return picture


def _jpeg(pixels: np.ndarray, height: int) -> bytes:
    """Pixels uint8 [h, w, 3], not higher than that."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    if picture.height > height:
        picture = picture.resize((max(1, round(picture.width * height / picture.height)), height))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=82)
    return out.getvalue()


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=192, layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    """Without pyplot: no global state, and the Agg canvas whatever the user's backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()

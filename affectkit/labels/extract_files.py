"""Labels and sentiment of a file of answers, written in the published forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit.files import write_jsonl_atomic
from affectkit.labels.extraction import LabelReader, LabelReading, as_list, lower, mean_agreement
from affectkit.labels.sentiment import LEXICON, VALUES, of_labels
from affectkit.labels.submission import write_csv, write_npz

ENDINGS = (".npz", ".csv", ".jsonl")
COLUMNS: dict[str, tuple[str, ...]] = {
    "labels": (),
    "sentiment": ("openset", "labels", "fileitems", "label", "discrete", "text", "answer", "reason"),
}
"""The columns that each reads, the likeliest first; none: columns of texts."""


def extract_labels(texts: Mapping[str, str], reader: LabelReader, out: Path) -> dict[str, Any]:
    """Read the labels of every text (by id) and write them; what came of it as `extraction_summary` says.

    Raises ClientError where the model does not reply; nothing is written then, and replies that came are kept.
    """
    reads = reader.read(list(texts.values()))
    write_items(out, "openset", list(texts), [as_list(r.labels) for r in reads], [r.how for r in reads])
    return extraction_summary(texts, reader, reads)


def extract_sentiment(texts: Mapping[str, str], reader: LabelReader, out: Path) -> dict[str, Any]:
    """The sentiment of every answer, from its labels: by the model where there is one, else by our lexicon; and write it.

    An answer that is a word of sentiment stays one. Where none can be told the item is empty: scorers count it.
    """
    reads = reader.read(list(texts.values()))
    labels = [lower(r.labels) for r in reads]
    ours = {ls: of_labels(ls) for ls in labels}
    model, theirs = reader.extractor, {}
    fresh = [ls for ls in dict.fromkeys(labels) if ls and not (len(ls) == 1 and ls[0] in VALUES)]
    if model is not None:
        jobs = [lambda ls=ls: model.sentiment(ls) for ls in fresh]
        theirs = dict(zip(fresh, model.client.read_all(jobs, "asking for sentiment"), strict=True))
    words = [(theirs.get(ls) if ls in theirs else ours[ls]) or "" for ls in labels]
    write_items(out, "sentiment", list(texts), words, ["model" if ls in theirs else "lexicon" for ls in labels])
    found = extraction_summary(texts, reader, reads)
    counts = Counter(word or "without" for word in words)
    found |= {"by": "a model's second pass" if model else LEXICON, "counts": dict(sorted(counts.items()))}
    if theirs:
        same = [float(theirs[ls] == ours[ls]) for ls in labels if ls in theirs and theirs[ls] and ours[ls]]
        found["agreement"]["sentiment with our lexicon"] = mean_agreement(same)
    return found | {"without": counts["without"]}


def extraction_summary(texts: Mapping[str, str], reader: LabelReader, reads: Sequence[LabelReading]) -> dict[str, Any]:
    """`clips`, how they were read, how many have no labels, who was asked, and how far a model and the fixed sentence agree."""
    read = reader.told(list(texts.values()))
    agreement = read.pop("agreement", None)
    read.pop("model", None)
    found: dict[str, Any] = {
        "clips": len(texts),
        "read": read,
        "without": sum(not r.labels for r in reads),
        "agreement": {"labels with the fixed sentence": agreement} if agreement else {},
    }
    return found | ({"model": reader.extractor.to_dict()} if reader.extractor is not None else {})


def write_items(path: Path, column: str, names: Sequence[str], items: Sequence[str], hows: Sequence[str]) -> None:
    """Write one item a clip: npz with `filenames` and `fileitems`, CSV with `name` and `column`, JSONL with `how` besides."""
    if path.suffix == ".npz":
        write_npz(path, {"filenames": names, "fileitems": items})
    elif path.suffix == ".csv":
        write_csv(path, {"name": names, column: items})
    else:
        lines = zip(names, items, hows, strict=True)
        write_jsonl_atomic(path, ({"name": name, column: item, "how": how} for name, item, how in lines))

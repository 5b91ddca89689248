"""`affectkit extract`: emotion labels, or sentiment, from answers in words, written as `score` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from affectkit.commands._options import client_options, plugin_files, print_json, reader_named, reader_option, values_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import CachedClient, access_for
from affectkit.labels.answers import Source, read_answers
from affectkit.labels.extraction import SENTENCES, Extractor, LabelReader, problem_of, summary_sentence
from affectkit.labels.submission import COLUMNS, ENDINGS, Extraction, extract_labels, extract_sentiment
from affectkit.plan.use import client_of
from affectkit.registry import Registry
from affectkit.sample import Targets

EXAMPLES = """
\b
Examples:
  affectkit extract labels --predictions answers.npz --out answers-openset.npz
  affectkit extract labels --predictions runs/last/predictions.jsonl --task reason --out reasons-openset.csv
    --client openai_compatible client.url=http://127.0.0.1:8000/v1 client.model=NAME
  affectkit extract labels --predictions thoughts.csv --out thoughts-openset.csv --reader tagged
  affectkit extract sentiment --predictions answers-openset.npz --out answers-openset-sentiment.npz
  affectkit score ov_wheels --predictions answers-openset.npz --labels truth.csv

Answers are tables (CSV, Excel, JSON, JSONL, Parquet), npz with name2reason, or a run's own predictions.jsonl. What is
written has the published form: an npz with filenames and fileitems, or a table with name and openset (sentiment: name and
sentiment).
"""


@click.command("extract", epilog=EXAMPLES)
@click.argument("what", type=click.Choice(["labels", "sentiment"]))
@click.argument("said", nargs=-1, metavar="[client.KEY=VALUE]... [reader.KEY=VALUE]...")
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="Answers in words, or in labels.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where to write: .npz, .csv or .jsonl.")
@click.option(
    "--how",
    type=click.Choice(["auto", "list", "sentence", "client"]),
    help="How labels are read. Default: client where one is named, else auto: a list in brackets, a fixed sentence, a list.",
)
@click.option("--sentence", "sentences", multiple=True, help="A fixed sentence with {labels} in it, in place of ours.")
@click.option("--answer-column", metavar="NAME", help="Column of --predictions that holds the answers.")
@click.option("--task", default="open_labels", show_default=True, help="Which answers of a run's own predictions.")
@click.option("--split", help="Which split of a run's own predictions.")
@click.option("--client", metavar="NAME", help="The piece that reads free text; it judges sentiment, too.")
@click.option(
    "--language",
    type=click.Choice(["english", "chinese"]),
    default="english",
    show_default=True,
    help="Language of the questions to it.",
)
@reader_option
@click.option("--as-published", is_flag=True, help="Take its replies as they come, and ask for none again.")
@client_options
@plugin_files
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as JSON.")
def command(
    what: str,
    said: tuple[str, ...],
    predictions: Path,
    out: Path,
    how: str | None,
    sentences: tuple[str, ...],
    answer_column: str | None,
    task: str,
    split: str | None,
    client: str | None,
    language: str,
    reader: str | None,
    as_published: bool,
    servers: tuple[str, ...],
    api_key_env: str | None,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Read emotion labels, or sentiment, from answers: offline, or with a language model."""
    if out.suffix not in ENDINGS:
        raise InputError(Problem(f"--out {out}", "has none of the endings that are written", known=ENDINGS))
    if out.resolve() == predictions.resolve():
        raise InputError(Problem(f"--out {out}", "is the file of the answers", "write to another one"))
    if how == "client" and client is None:
        raise InputError(Problem("--how client", "there is no model to ask", "name one: --client openai_compatible …"))
    wrong = [problem for problem in map(problem_of, sentences) if problem]
    if wrong:
        raise InputError(Problem("--sentence", wrong[0]))
    source = Source(predictions, None, split, answer_column)
    texts = read_answers(source, task, COLUMNS[what])
    values = values_of(said, ["client", "reader"])
    registry = Registry.load(plugins)
    if read := reader_named(reader, values.get("reader", {}), registry):
        found_in = {i: read(text, Targets()).answer for i, text in texts.items()}
        texts = {i: text if (answer := found_in[i]) is None else answer for i, text in texts.items()}
    with access_for(servers, api_key_env, said):
        asker = _asker(client, values.get("client", {}), registry)
    model = Extractor(asker, language, not as_published) if asker else None  # type: ignore[arg-type]
    labels = LabelReader(how or ("client" if model else "auto"), sentences or SENTENCES, model)  # type: ignore[arg-type]
    found = (extract_labels if what == "labels" else extract_sentiment)(texts, labels, out)
    if remarks := source.remarks.lines():
        found["remarks"] = remarks
    if as_json:
        print_json(found)
    else:
        show(found, out)


def _asker(client: str | None, values: Mapping[str, object], registry: Registry) -> CachedClient | None:
    """The model that is named, with its settings; None where none is."""
    if client is None and values:
        fix = "add --client NAME"
        raise InputError(Problem("client.KEY=VALUE", "is a setting of a client, and none is named", fix))
    if client is None:
        return None
    use = client_of(registry, {"use": client, **values})
    return CachedClient(use.piece.build(use.settings))


def show(found: Extraction, out: Path) -> None:
    """Print what came of it."""
    for remark in found.get("remarks", ()):
        click.echo(f"note: {remark}")
    click.echo(f"{found['clips']} answers; {summary_sentence(found['read'])}; {found['without']} without any")
    if "counts" in found:
        click.echo(f"sentiment by {found['by']}: " + ", ".join(f"{n} {word}" for word, n in found["counts"].items()))
    for name, one in found["agreement"].items():
        if one["value"] is not None:
            span = f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
            click.echo(f"agreement of {name} {span}: {one['differ']} of {one['clips']} clips differ")
    asked = found["model"]["asked"] if "model" in found else None
    if isinstance(asked, Mapping):
        click.echo("asked: " + ", ".join(f"{n} {state}" for state, n in asked.items() if n))
    click.echo(f"wrote {out}")

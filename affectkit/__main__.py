"""The command line: one verb per file in `affectkit/commands`, each loaded only when it is called."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys

import click

VERBS = {
    "fit": "Train a recipe through its stages, evaluate it, write the report.",
    "sweep": "Run variants of a recipe one after another and compare them.",
    "evaluate": "Evaluate a run or a recipe.",
    "cross": "Ask runs about data sets that they were not trained on: a matrix.",
    "predict": "Ask a trained run about clips, stills, sound files or folders.",
    "check": "Check a recipe: every problem at once, in well under a second.",
    "show": "Show the composed graph, or one sample from file to trained tokens.",
    "score": "Score a file of predictions against a file of labels.",
    "extract": "Read emotion labels or sentiment from answers in words.",
    "annotate": "Run annotators over raw clips: instruction data with where each finding comes from.",
    "review": "Let people accept, edit or reject the records of an annotation.",
    "report": "Make a run's report again, or compare runs side by side.",
    "convert": "Read a published checkpoint into a run folder.",
    "export": "Write a run as other libraries read it.",
    "pieces": "List the pieces there are, or show one with its settings.",
    "plugins": "List installed plugins, or start one of your own.",
    "data": "Look at data: check that of a recipe, or write example clips.",
    "cache": "Show or clear the feature cache.",
    "wheels": "Import the published emotion-wheel tables.",
}


SPINS = "10000"
"""How often torch's threads look for work before they sleep (GNU OpenMP). By default they spin for milliseconds: on a machine
that others use too, two threads are then up to nine times slower than one (benchmarks/threads.py). Read when torch loads."""


OUTSIDE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG,
)  # fmt: skip
"""What only the user can mend: disks that are full, files that may not be read or written, places below a file."""


class Verbs(click.Group):
    """Knows the verbs by name; imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"affectkit.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from affectkit.errors import unknown

            raise click.UsageError(str(unknown("", "command", args[0], VERBS)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="affectkit", prog_name="affectkit")
def cli() -> None:
    """Build multimodal LLMs that understand human emotion, from pieces.

    \b
    affectkit fit recipes/emo_llama.yaml           train, evaluate and report
    affectkit check recipes/emo_llama.yaml         every problem of a recipe at once
    affectkit pieces encoder                       what there is to compose
    """


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 129, 130 and 143 interrupted."""
    from affectkit.errors import AffectkitError, Interrupted, Problem, RunError

    if isinstance(sys.stdout, io.TextIOWrapper):
        # a terminal, or a file, that cannot show every sign ends nothing; stderr is like that from the start
        sys.stdout.reconfigure(errors="replace")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        code = 130
    except AffectkitError as error:
        click.echo(error_text(error), err=True)
        code = error.exit_code
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        click.echo(error_text(RunError(Problem(str(error.filename or "a file"), str(error.strerror)))), err=True)
        code = 1
    except Interrupted as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process ends: a second one would only show where
        click.echo("\n".join([str(error), *getattr(error, "__notes__", ())]), err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def error_text(error: Exception) -> str:
    """An error as the terminal shows it."""
    problems = getattr(error, "problems", ())
    head = click.style("error", fg="red", bold=True)
    if len(problems) <= 1:
        return f"{head}: {error}"
    return "\n".join([f"{head}: {len(problems)} problems", *(f"{i}. {p}" for i, p in enumerate(problems, 1))])


if __name__ == "__main__":
    main()

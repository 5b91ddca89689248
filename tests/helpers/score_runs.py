"""Score runs, for several test files."""

import json

from click.testing import CliRunner

from affectkit.commands.score import command


def run(*arguments):
    found = CliRunner().invoke(command, arguments)
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def figures(*arguments):
    return json.loads(run(*arguments, "--json").output)

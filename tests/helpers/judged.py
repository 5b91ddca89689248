"""Judged, for several test files."""

import json


def material(body):
    """The JSON object at the end of the first question."""
    return json.loads(body["messages"][0]["content"].rsplit("\n\n", 1)[1])

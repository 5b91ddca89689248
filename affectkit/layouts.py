"""Named layouts of one prompt: which are written in training and at inference, and whether they are there. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from affectkit.errors import Problem, unknown
from affectkit.marked_yaml import Path_
from affectkit.prompt import Phase

PHASES = get_args(Phase)


def check_layouts(written: Mapping[str, str], parts: Mapping[str, str], place: Callable[[Path_], str]) -> list[Problem]:
    """What is wrong with a prompt's layouts.

    `written` maps phase to the layout that is written in it, `parts` maps part to the only layout in which it stands
    (empty: it stands in every one). A slip of the pen would leave words out in silence. A part whose layout is not
    written now is no mistake: another recipe, or an evaluation, may write it.
    """
    known = tuple(dict.fromkeys(name for name in parts.values() if name))
    problems = []
    for phase, name in written.items():
        at = place(("prompt", "layouts", phase))
        if phase not in PHASES:
            problems.append(unknown(at, "phase", phase, PHASES))
        if name not in known:
            problems.append(unknown(at, "layout", name, known, "else give parts that `layout`"))
    if known and not written:
        part = next(part for part, name in parts.items() if name)
        fix = f"say which is written, such as `layouts: {{train: {known[0]}, infer: {known[0]}}}`"
        what = f"this part stands in the layout {known[0]!r} only, and the prompt writes no layout"
        problems.append(Problem(place(("prompt", "parts", part)), what, fix, known))
    missing = [phase for phase in PHASES if written and phase not in written]
    if missing:
        what = f"says no layout for phase {missing[0]!r}"
        problems.append(Problem(place(("prompt", "layouts")), what, "name one for each phase", known))
    return problems

"""The rules of the house: which room may import which, which leave torch out, how large things are, what the map says."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import affectkit

ROOT = Path(__file__).parents[1]
FRAME = ROOT / "affectkit"
ORDER = (
    {"ground"},
    {"recipe"},
    {"plan"},
    {"data"},
    {"encode"},
    {"model"},
    {"train"},
    {"evaluation"},
    {"labels", "report"},
    {"api"},
    {"interop", "studies", "annotate"},
    {"testing", "commands"},
)
"""Lower floors first: a module imports its own room and those on floors below."""
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
LIGHT = ("ground", "recipe", "plan", "data", "labels", "report")
HEAVY = ("affectkit.model.model",)
"""A module that needs torch, so that the test of the light ones is seen to fail."""
DOOR = ("affectkit", "affectkit.__main__", "affectkit._moved")
"""What stands before all rooms: the lazy public names, the command line, the old names."""
MOST_LINES, MOST_LINES_OF_FUNCTION, MOST_PARAMETERS = 500, 60, 8
PUBLISHED = re.compile(
    r"\b(affectgpt|affectnet|cmu.?mos\w*|dfew|emer|emotion.?llama|emo.?llama|facexformer|fer.?plus|fer.?2013|ferid|iemocap|"
    r"llama.?vid|mafw|meld|mer.?bench|mer.?caption|mer20\d\d|mer.?unibench|merr|minigpt\w*|ov.?merd?|raf.?db|sims\w*)\b",
    re.I,
)
"""Data sets and published systems."""


def modules():
    """By name, the file of every module of the frame."""
    for path in sorted(FRAME.rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


MODULES = dict(modules())
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def room_of(module):
    parts = module.split(".")
    if module in DOOR:
        return None
    if len(parts) == 2 and parts[1] not in FLOOR:
        return "ground"
    return parts[1]


def imports(tree, known):
    """(module imported, line) for each import of a module of ours, wherever it stands, TYPE_CHECKING included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "affectkit":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in known else node.module), node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in known)


def upward(trees):
    """Imports from a room further up, or beside in the same pair."""
    for name, tree in trees.items():
        for other, line in imports(tree, trees):
            here, there = room_of(name), room_of(other)
            if here and there and here != there and FLOOR[there] >= FLOOR[here]:
                yield f"{name}:{line} imports {other}"


def test_rooms_import_downward_only():
    assert list(upward(TREES)) == []


def test_an_upward_import_would_be_seen():
    wrong = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from affectkit.report.page import Page\n"
    trees = {**TREES, "affectkit.plan.check": ast.parse(wrong)}
    assert list(upward(trees)) == ["affectkit.plan.check:3 imports affectkit.report.page"]
    aside = {**TREES, "affectkit.labels.npz": ast.parse("def f():\n    from affectkit.report import page\n")}
    assert list(upward(aside)) == ["affectkit.labels.npz:2 imports affectkit.report.page"]


def circles(edges):
    """Groups of modules that reach each other (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            found.extend([sorted(group)] if len(group) > 1 else [])

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_no_modules_import_each_other_in_a_circle():
    edges = {name: {other for other, _ in imports(tree, TREES) if other != name} for name, tree in TREES.items()}
    edges = {name: {o for o in others if o in edges and o != "affectkit"} for name, others in edges.items()}
    assert circles(edges) == []
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"]}) == [["b", "c"]]


def test_light_rooms_import_no_torch():
    light = [m for m in MODULES if room_of(m) in LIGHT and m != "affectkit.blocks"]  # records of tensors
    assert len(light) > 50
    code = (
        "import importlib, json, sys\nfound = {}\n"
        "for name in sys.argv[1:]:\n    importlib.import_module(name)\n"
        "    found.setdefault('torch' in sys.modules, name)\n"
        "print(json.dumps(found.get(True)))"
    )
    ran = subprocess.run([sys.executable, "-c", code, *light], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) is None
    ran = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=False)
    assert json.loads(ran.stdout) == HEAVY[0]  # the test can fail


def rooms():
    """By name, the sentence of each room."""
    return {p.parent.name: ast.get_docstring(ast.parse(p.read_text())) for p in sorted(FRAME.glob("*/__init__.py"))}


def test_a_room_opens_with_its_sentence_and_nothing_more():
    for room, sentence in rooms().items():
        assert re.fullmatch(r"[A-Z].*\.", sentence or ""), room
        body = TREES[f"affectkit.{room}"].body[1:]
        if room == "testing":  # what authors of plugins call stands at its door
            body = [n for n in body if not isinstance(n, ast.ImportFrom) and "__all__" not in ast.unparse(n)]
        assert body == [], room


def test_the_map_of_the_readme_is_the_rooms_with_their_sentences():
    rows = re.findall(r"^\| `affectkit/(\w+)/` \| (.+?) \|$", (ROOT / "README.md").read_text(), re.M)
    assert dict(rows) == rooms()
    assert [room for room, _ in rows] == sorted(dict(rows), key=FLOOR.__getitem__)


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("folder", ["affectkit", "plugins"])
def test_nothing_is_larger_than_one_can_see(folder):
    large = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            large.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for f in functions(ast.parse(text)):
            where = f"{path.relative_to(ROOT)}:{f.lineno} {f.name}"
            if f.end_lineno - f.lineno + 1 > MOST_LINES_OF_FUNCTION:
                large.append(f"{where}: {f.end_lineno - f.lineno + 1} lines")
            names = [a.arg for a in (*f.args.args, *f.args.kwonlyargs) if a.arg not in ("self", "cls")]
            if len(names) > MOST_PARAMETERS and path.parent.name != "commands" and f.name not in FIXED_BY_OTHERS:
                large.append(f"{where}: {len(names)} parameters")
    assert large == []


FIXED_BY_OTHERS = {
    "attention": "transformers calls it with what its attention functions take",
    "score": "the function form of a command: each is one of its options, by name",
}


def importers():
    """By module, the files that import it."""
    found = {name: set() for name in MODULES}
    trees = {
        str(p): ast.parse(p.read_text()) for folder in ("affectkit", "plugins") for p in (ROOT / folder).rglob("*.py")
    }
    for path, tree in trees.items():
        for other, _ in imports(tree, MODULES):
            found.get(other, set()).add(path)
    return found


ALONE = {
    "affectkit.__main__": "the command line",
    "affectkit._moved": "goes with version 0.3",
    "affectkit.report.others": "a part of the page of a run, which is long enough",
    "affectkit.train.start": "only a run that starts from another's weights needs it",
}
"""Small files with one importer, each with its reason."""
SMALL = 80


def test_a_small_file_has_two_importers_or_a_reason():
    lonely = {
        name
        for name, found in importers().items()
        if MODULES[name].read_text().count("\n") < SMALL
        and MODULES[name].name != "__init__.py"
        and room_of(name) != "commands"
        and len(found - {str(MODULES[name])}) < 2
    }
    assert lonely - set(ALONE) == set()
    assert set(ALONE) <= set(MODULES)


NO_CONTRACT = {
    "affectkit.evaluation.bootstrap": {"indices"},
    "affectkit.evaluation.calibration": {"FIGURES", "Confidences"},
    "affectkit.evaluation.clients": {"LOOPBACK", "Unreadable", "strict_json"},
    "affectkit.interop.export": {"trains_whole"},
    "affectkit.interop.feature_files": {"unseen"},
    "affectkit.labels.answers": {"FREE"},
    "affectkit.labels.extraction": {"SENTENCES", "Extractor", "LabelReader", "lower", "problem_of", "summary_sentence"},
    "affectkit.labels.npz": {"read_corpora", "read_npy"},
    "affectkit.labels.sentiment": {"LEXICON", "VALUES", "of_labels"},
    "affectkit.labels.wheels": {"Tables", "imported_tables", "read_tables", "string_to_list"},
}
"""What our own plugins import of the rooms that no author of another plugin should build on."""


def from_rooms(trees):
    """(file, module, name) of what plugins import of the frame beside the ground and what `affectkit` itself exports."""
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "affectkit":
                continue
            for name in (alias.name for alias in node.names):
                module = node.module if f"{node.module}.{name}" not in MODULES else f"{node.module}.{name}"
                exported = f"affectkit.{affectkit._WHERE.get(name)}" == module or module == "affectkit"
                if room_of(module) not in ("ground", "testing") and not exported:
                    yield file, module, name


def test_plugins_import_the_ground_and_public_contracts():
    trees = {str(p.relative_to(ROOT)): ast.parse(p.read_text()) for p in sorted((ROOT / "plugins").rglob("*.py"))}
    used = list(from_rooms(trees))
    assert [u for u in used if u[2] not in NO_CONTRACT.get(u[1], ())] == []
    unused = {(m, n) for m, names in NO_CONTRACT.items() for n in names} - {(m, n) for _, m, n in used}
    assert unused == set(), "no longer used: shorten the list"
    wrong = {"a.py": ast.parse("from affectkit.evaluation.score import score\nfrom affectkit.model import model\n")}
    assert [u[2] for u in from_rooms(wrong)] == ["score", "model"]


def test_the_public_contracts_are_those_of_the_page():
    """All that the page lists is exported, and all that plugins take from the rooms is listed."""
    page = (ROOT / "docs/add-a-piece.md").read_text().partition("## What to import")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.+?) \|", page, re.M))))
    assert {"Face", "Message", "ClientError", "Backbone", "LMInput", "Imported", "Prediction", "key_for"} <= listed
    assert listed <= set(affectkit.__all__)
    rooms_of = {n for n, where in affectkit._WHERE.items() if room_of(f"affectkit.{where}") != "ground"}
    assert rooms_of - VERBS <= listed
    templates = (ROOT / "affectkit/commands/templates").glob("plugin_*.py.txt")
    trees = [ast.parse(re.sub(r"{{(\w+)}}", r"\1", p.read_text())) for p in templates]
    assert list(from_rooms(dict(enumerate(trees)))) == []


VERBS = {"build", "check", "evaluate", "fit", "load", "load_recipe", "score"}
"""What is exported for those who run recipes from Python, not for plugins."""


TOP = {"helpers", "plugins", "ground", "systems", "fuzz"}
"""Folders of tests beside the rooms: shared code, the pieces, the ground floor, the three published systems."""


def test_tests_mirror_the_rooms():
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert folders - TOP == set(rooms()), "each room has its tests, and no other folder has any"
    kinds = {p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").exists()}
    assert {p.name for p in (ROOT / "tests/plugins").iterdir() if p.is_dir() and not p.name.startswith("_")} <= kinds


def test_there_is_enough_test_for_the_code():
    lines = {
        f: sum(p.read_text().count("\n") for p in (ROOT / f).rglob("*.py")) for f in ("affectkit", "plugins", "tests")
    }
    assert lines["tests"] / (lines["affectkit"] + lines["plugins"]) >= 0.6


def named(tree):
    """(line, text) of names and strings of code that name a data set or a published system; docstrings may."""
    blocks = [b for n in ast.walk(tree) if isinstance(b := getattr(n, "body", None), list)]
    doc = {id(n.value) for b in blocks for n in b if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in doc:
            text = node.value
        elif isinstance(node, ast.Name | ast.FunctionDef | ast.ClassDef):
            text = (node.id if isinstance(node, ast.Name) else node.name).replace("_", " ")
        else:
            continue
        if PUBLISHED.search(text):
            yield node.lineno, text


DATA_WITH_SOURCE = {
    "affectkit.labels.wheels": "the form tables are published under these names",
    "affectkit.labels.npz": "the published files spell the names of their corpora so",
}


def test_the_frame_names_no_data_set_and_no_published_system():
    found = [
        f"{name}:{line}: {text[:60]!r}"
        for name, tree in TREES.items()
        if room_of(name) != "commands" and name not in (*DATA_WITH_SOURCE, *DOOR)
        for line, text in named(tree)
    ]
    assert found == []
    assert list(named(ast.parse("if name == 'MELD':\n    pass"))) == [(1, "MELD")]


def test_every_room_and_kind_is_in_the_wheel():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {p.parent.relative_to(ROOT) for top in ("affectkit", "plugins") for p in (ROOT / top).rglob("__init__.py")}
    assert {str(p).replace("/", ".").replace("plugins", "affectkit_plugins", 1) for p in there} <= set(named)

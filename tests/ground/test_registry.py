"""Plugins are loaded each by itself; what is wrong with one is told and costs nobody else."""

import importlib
import sys

import click.testing
import pytest

from affectkit.__main__ import cli
from affectkit.errors import InputError
from affectkit.pieces import API
from affectkit.registry import DISABLE, Registry

GOOD = '''
"""One prompt."""
from dataclasses import dataclass
from affectkit import Piece, hookimpl

@dataclass(frozen=True)
class Settings:
    """Says nothing."""

def build(settings):
    return lambda sample, ask: ()

@hookimpl
def affectkit_pieces():
    return [Piece("KIND", "NAME", Settings, build)]
'''


def good(name, kind="prompt"):
    return GOOD.replace("NAME", name).replace("KIND", kind)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed distributions; call it with a name, an entry point and files."""
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))

    def install(name, version, points, files, about=""):
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{about}")
        lines = "".join(f"{key} = {value}\n" for key, value in points.items())
        (info / "entry_points.txt").write_text(f"[affectkit]\n{lines}")
        importlib.invalidate_caches()

    yield install
    for module in set(sys.modules) - before:
        if module.startswith(("spoilt", "plain", "whole", "twin", "other", "late")):
            del sys.modules[module]


def plugin(registry, source):
    return next(p for p in registry.plugins if p.source == source)


def ran(*arguments):
    return click.testing.CliRunner().invoke(cli, arguments)


def test_a_broken_plugin_costs_only_itself_and_is_named(site):
    site("spoilt-pieces", "1.2", {"spoilt": "spoilt"}, {"spoilt.py": "x = 1\nraise RuntimeError('no good')\n"})
    site("plain-pieces", "0.3", {"plain": "plain"}, {"plain.py": good("quiet")})
    registry = Registry.load()
    assert registry.find("prompt", "quiet")
    assert len(registry.pieces()) > 40
    broken = plugin(registry, "spoilt-pieces")
    assert broken.broken == [("spoilt", "RuntimeError: no good (spoilt.py:2)")]
    told = ran("plugins")
    assert told.exit_code == 0
    for words in ("spoilt-pieces", "1.2", "no good", f"{DISABLE}=spoilt-pieces", "pip uninstall spoilt-pieces"):
        assert words in told.output


def test_an_unknown_piece_names_the_near_miss_and_the_plugins_that_did_not_load(site):
    site("spoilt-pieces", "1.2", {"spoilt": "spoilt"}, {"spoilt.py": "import nowhere_at_all\n"})
    with pytest.raises(InputError) as told:
        Registry.load().piece("projector", "liner", "a.yaml:3:5")
    text = str(told.value)
    assert text.startswith("a.yaml:3:5: unknown projector 'liner'")
    for words in ("did you mean 'linear'", "mlp", "spoilt-pieces 1.2", "nowhere_at_all", DISABLE):
        assert words in text
    assert "there is a prompt of that name" in str(Registry.load().problem("metric", "subtitle"))


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (good("a").replace("affectkit_pieces", "affectkit_piece"), "affectkit_piece"),
        (good("a").replace("def affectkit_pieces():", "def affectkit_pieces(registry):"), "registry"),
        (good("a").replace("@hookimpl\n", ""), "no affectkit_pieces() marked with @affectkit.hookimpl"),
        (good("a", kind="projektor"), "unknown kind 'projektor'; known: dataset, encoder"),
        (good("a").replace("Settings, build)", f"Settings, build, api={API + 1})"), f"hook API {API + 1}"),
        (good("a").replace('[Piece("prompt", "a", Settings, build)]', '["a"]'), "'a', which is no affectkit.Piece"),
        ("def broken(:\n", "SyntaxError"),
    ],
    ids=["misspelt hook", "strange argument", "unmarked", "unknown kind", "other API", "no piece", "syntax"],
)
def test_what_is_wrong_with_a_file_is_told(source, cause, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(source)
    registry = Registry.load([path])
    found = plugin(registry, str(path))
    assert not found.pieces
    assert cause in found.broken[0][1]
    assert found.disable() == f"leave out --plugin {path}"
    assert len(registry.pieces()) > 40


def test_a_good_file_loads(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(good("quiet"))
    registry = Registry.load([path])
    assert registry.piece("prompt", "quiet").about == "Says nothing."
    assert registry.plugin_of(registry.piece("prompt", "quiet")).source == str(path)
    told = ran("pieces", "prompt", "--plugin", str(path))
    assert "quiet" in told.output
    assert str(path)[:20] in told.output


def test_a_piece_taken_for_a_kind_is_shown_the_way():
    told = ran("pieces", "mlp")
    assert told.exit_code != 0
    assert "affectkit pieces show mlp" in str(told.exception)
    assert "pieces show" not in str(ran("pieces", "mlpp").exception)


def test_a_piece_is_shown_as_its_author_wrote_it():
    """Defaults in brackets are no markup, and the indentation of the class is not shown."""
    told = ran("pieces", "show", "age_gender_race").output
    assert "[age, gender, race]" in told
    assert "\nWhat is missing is not said" in told


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="there is no such plugin file"):
        Registry.load([tmp_path / "nothing.py"])


def test_a_clash_names_both_distributions(site):
    site("twin-one", "1.0", {"twin": "twin_one"}, {"twin_one.py": good("quiet")})
    site("twin-two", "2.0", {"twin": "twin_two"}, {"twin_two.py": good("quiet")})
    registry = Registry.load()
    with pytest.raises(InputError) as told:
        registry.piece("prompt", "quiet")
    for words in ("twin-one 1.0", "twin-two 2.0", "disable one", DISABLE):
        assert words in str(told.value)
    listed = ran("plugins")
    assert listed.exit_code == 1
    told = " ".join(listed.output.split())
    assert any(
        f"a prompt 'quiet': {pair}; neither" in told for pair in ("twin-one and twin-two", "twin-two and twin-one")
    )


def test_steps_of_different_kinds_clash_and_other_kinds_do_not(tmp_path):
    for kind in ("adapter", "projector", "metric"):
        (tmp_path / f"{kind}.py").write_text(good("own", kind))
    registry = Registry.load([tmp_path / f"{kind}.py" for kind in ("adapter", "projector", "metric")])
    assert list(registry.clashes) == [("step", "own")]
    assert registry.problem("metric", "own") is None
    assert "two plugins offer" in str(registry.problem("projector", "own"))


def test_a_clash_with_a_built_in_leaves_that_usable_and_names_the_newcomer(site, tmp_path):
    own = 'Piece("adapter", "linear", Settings, build)'
    two = good("linear", "adapter").replace(own, f'{own}, Piece("prompt", "other", Settings, build)')
    site("twin-one", "1.0", {"twin": "twin_one"}, {"twin_one.py": two})
    registry = Registry.load()
    assert registry.plugin_of(registry.piece("projector", "linear")).source == "affectkit"
    assert registry.find("prompt", "other")
    assert not registry.clashes
    newcomer = plugin(registry, "twin-one")
    assert [p.name for p in newcomer.pieces] == ["other"]
    why = "affectkit has a projector 'linear', which stays: give this adapter another name"
    assert newcomer.broken == [("the piece 'linear'", why)]
    listed = ran("plugins")
    assert listed.exit_code == 0
    for words in ("twin-one 1.0: the piece 'linear' did not load", why, f"{DISABLE}=twin-one"):
        assert words in listed.output
    (tmp_path / "mine.py").write_text(good("mlp", "projector"))
    assert ran("check", "voice").exit_code == 0
    asked = ran(
        "check", "voice", "--plugin", str(tmp_path / "mine.py")
    )  # what is asked for must not stay away in silence
    assert "affectkit has a projector 'mlp'" in str(asked.exception)
    assert "leave out --plugin" in str(asked.exception)


def test_a_package_stands_for_its_modules_but_networks_and_private_ones(site):
    files = {
        "whole/__init__.py": '"""A package."""\n',
        "whole/one.py": good("first"),
        "whole/deep/__init__.py": "",
        "whole/deep/two.py": good("second"),
        "whole/notes.py": "x = 1\n",
        "whole/one_net.py": "raise RuntimeError('a network is not scanned')\n",
        "whole/_own.py": "raise RuntimeError('a private module is not scanned')\n",
        "whole/spoilt.py": "raise RuntimeError('this one is')\n",
    }
    site("whole-pieces", "1.0", {"whole": "whole"}, files)
    found = plugin(Registry.load(), "whole-pieces")
    assert sorted(p.name for p in found.pieces) == ["first", "second"]
    assert [module for module, _ in found.broken] == ["whole.spoilt"]
    assert "whole.one_net" not in sys.modules


def test_two_entry_points_of_one_distribution_both_count(site):
    points = {"other": "other_one", "another": "other_two"}
    site("other-pieces", "1.0", points, {"other_one.py": good("first"), "other_two.py": good("second")})
    registry = Registry.load()
    assert registry.find("prompt", "first")
    assert registry.find("prompt", "second")


def test_disabled_plugins_are_not_imported(site, monkeypatch):
    site("late-pieces", "1.0", {"late": "late"}, {"late.py": good("quiet")})
    monkeypatch.setenv(DISABLE, "nothing, late-pieces")
    registry = Registry.load()
    assert registry.find("prompt", "quiet") is None
    assert "late" not in sys.modules
    monkeypatch.setenv(DISABLE, "")
    assert Registry.load().find("prompt", "quiet")


def test_a_missing_package_names_what_to_install(tmp_path):
    path = tmp_path / "mine.py"
    needs = good("quiet").replace("Settings, build)", 'Settings, build, needs=("sys", "no_such_package"))')
    path.write_text(needs)
    problem = str(Registry.load([path]).problem("prompt", "quiet"))
    assert "needs the package no_such_package, which is not installed" in problem
    assert "pip install no_such_package" in problem


NEEDY = good("quiet").replace("Settings, build)", 'Settings, build, needs=("no_such_package",)EXTRA)')
ABOUT = """Provides-Extra: sound
Provides-Extra: look
Requires-Dist: click>=8
Requires-Dist: unheard-of>=2; extra == "sound"
Requires-Dist: No.Such_Package>=1; python_version > "3" and extra == "look"
"""


@pytest.mark.parametrize(
    ("extra", "about", "fix"),
    [
        (', extra="sound"', ABOUT, "pip install 'plain-pieces[sound]'"),
        ("", ABOUT, "pip install 'plain-pieces[look]'"),
        (', extra="face"', ABOUT, "pip install 'affectkit[face]'"),
        ("", "", "pip install no_such_package"),
        (', extra="nowhere"', "", "pip install no_such_package"),
    ],
    ids=["its own", "listed in its own", "one of affectkit's", "none", "none of that name"],
)
def test_a_missing_package_of_a_stranger_names_the_strangers_extra(extra, about, fix, site):
    site("plain-pieces", "0.3", {"plain": "plain"}, {"plain.py": NEEDY.replace("EXTRA", extra)}, about)
    problem = Registry.load().problem("prompt", "quiet")
    assert problem.fix == fix
    assert "needs the package no_such_package, which is not installed" in problem.what
    shown = ran("pieces", "show", "quiet").output
    assert f"needs no_such_package ({fix})" in shown if extra else "pip" not in shown


def test_a_piece_that_is_not_there_may_be_of_a_plugin_that_did_not_load(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    found = ran("pieces", "show", "mine", "--plugin", str(tmp_path / "broken.py"))
    assert found.exit_code
    assert f"these plugins did not load and may offer it: {tmp_path / 'broken.py'}" in str(found.exception)
    assert "ZeroDivisionError" in str(found.exception)


def test_pieces_are_ordered_by_kind_then_name():
    from affectkit.pieces import KINDS

    order = list(KINDS)
    found = [(order.index(p.kind), p.name) for p in Registry.load().pieces()]
    assert found == sorted(found)
    assert {p.kind for p in Registry.load().pieces("miner")} == {"miner"}


def shaped(member, kind="prompt"):
    return good("shaped", kind).replace('    """Says nothing."""\n', f'    """Says nothing."""\n{member}\n')


@pytest.mark.parametrize(
    ("kind", "member", "told"),
    [
        ("prompt", "    slots: tuple = ()", "`slots()`, and it is no method"),
        ("prompt", "    slots: tuple", "`slots()`, and it is no method"),
        ("prompt", "    def slots(self, sample): return ()", "`slots()`: missing a required argument: 'sample'"),
        ("prompt", "    @property\n    def reads(self): return {}", "`reads()`, and it is no method"),
        ("prompt", "    def count_turns(self): return 1", "`count_turns(sample, task)`: too many positional arguments"),
        ("prompt", "    stops = ('###',)", "`stops()`, and it is no method"),
        ("metric", "    def asks(self, task): return 'label', ''", "`asks()`: missing a required argument: 'task'"),
        ("metric", "    def columns(): return ()", "`columns()`: too many positional arguments"),
    ],
)
def test_a_method_of_settings_that_the_frame_could_not_call_is_told_when_the_plugin_loads(tmp_path, kind, member, told):
    file = tmp_path / "shaped.py"
    file.write_text(shaped(member, kind))
    registry = Registry.load([file])
    name = told[1 : told.index("(")]
    what = f"the settings of the {kind} 'shaped' have `{name}`, which the frame calls as {told}"
    assert plugin(registry, str(file)).broken == [("affectkit_file_shaped", what)]
    assert registry.find(kind, "shaped") is None


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        ("prompt", "    def slots(self): return ()"),
        ("prompt", "    def slots(self, more=()): return more"),
        ("prompt", "    @staticmethod\n    def slots(): return ()"),
        ("prompt", "    def count_turns(self, *told): return None"),
        ("prompt", "    slots = None"),
        ("prompt", "    asks: str = 'a word of its own'"),
        ("dataset", "    columns: tuple = ()"),
    ],
)
def test_methods_that_can_be_called_and_names_that_the_frame_does_not_ask_for_load(tmp_path, kind, member):
    file = tmp_path / "shaped.py"
    file.write_text(shaped(member, kind))
    registry = Registry.load([file])
    assert plugin(registry, str(file)).broken == []
    assert registry.find(kind, "shaped")

"""A test of the tests: pieces that break one promise each are caught, by name and with figures."""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from broken_pieces import Settings, broken
from torch import nn

import affectkit
from affectkit.blocks import TokenBlock
from affectkit.errors import InputError, is_foreign
from affectkit.pieces import Piece, Port, Shape
from affectkit.registry import Registry
from affectkit.sample import Fact
from affectkit.testing.promises import BrokenPromise, keeps_its_promises


class Honest(nn.Module):
    """Mixes a frame's tokens by their masked mean, with an optional second port added to it."""

    def __init__(self, width, out, more=None):
        super().__init__()
        self.one, self.two = nn.Linear(width, 6), nn.Linear(6, out)
        self.more = None if more is None else nn.Linear(more, 6)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, tokens, more):
        x = self.one(self.hide(tokens.tokens, tokens.mask))
        x = x + self.gate * self.mean(x, tokens.mask)
        if more is not None and self.more is not None:
            x = x + self.mean(self.more(self.hide(more.tokens, more.mask)), more.mask)
        return self.out(self.two(x), tokens.mask)

    def hide(self, values, mask):
        return values * mask[..., None]

    def mean(self, values, mask):
        count = mask.sum(2, keepdim=True).clamp(min=1)[..., None]
        return (values * mask[..., None]).sum(2, keepdim=True) / count

    def out(self, values, mask):
        return {"tokens": TokenBlock("tokens", values * mask[..., None], mask)}


class Leaky(Honest):
    def hide(self, values, mask):
        return values

    def mean(self, values, mask):
        return values.mean(2, keepdim=True)


class Unclean(Honest):
    def out(self, values, mask):
        return {"tokens": TokenBlock("tokens", values, mask)}


class Wide(Honest):
    def out(self, values, mask):
        return super().out(torch.cat([values, values[..., :1]], -1), mask)


class Many(Honest):
    def out(self, values, mask):
        return super().out(values.repeat(1, 1, 2, 1), mask.repeat(1, 1, 2))


class Renamed(Honest):
    def out(self, values, mask):
        return {"face": TokenBlock("face", values * mask[..., None], mask)}


class Sociable(Honest):
    def mean(self, values, mask):
        return super().mean(values, mask).mean(0, keepdim=True)


class Cut(Honest):
    def forward(self, tokens, more):
        return super().forward(replace(tokens, tokens=tokens.tokens.detach()), more)


class Unused(Honest):
    def __init__(self, *args):
        super().__init__(*args)
        self.spare = nn.Linear(2, 2)


class Muted(Unused):
    def out(self, values, mask):
        return super().out(values + 0 * self.spare.weight.sum() + 0 * self.spare.bias.sum(), mask)


class Skipping(Honest):
    """Leaves a layer out by chance while it trains."""

    def __init__(self, *args):
        super().__init__(*args)
        self.extra = nn.Linear(args[1], args[1])

    def out(self, values, mask):
        skip = self.training and float(torch.rand(())) < 0.5
        return super().out(values if skip else values + self.extra(values), mask)


class NaNOnEmpty(Honest):
    def mean(self, values, mask):
        return (values * mask[..., None]).sum(2, keepdim=True) / mask.sum(2, keepdim=True)[..., None]

    def out(self, values, mask):
        return {"tokens": TokenBlock("tokens", torch.where(mask[..., None], values, values * 0), mask)}


class Moody(Honest):
    def out(self, values, mask):
        return super().out(nn.functional.dropout(values, 0.5, training=True), mask)


class Counting(Honest):
    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, tokens, more):
        self.calls += 1
        return super().forward(tokens, more)


class Needy(Honest):
    def forward(self, tokens, more):
        return super().forward(replace(tokens, tokens=tokens.tokens + more.tokens.mean()), more)


class Misnamed(Honest):
    def forward(self, tokens, extra):
        return super().forward(tokens, extra)


def shapes(settings, inputs, width):
    return {"tokens": replace(inputs["tokens"], width=width)}


def step(module=Honest, **changes):
    def build(settings, inputs, width):
        return module(inputs["tokens"].width, width, inputs["more"].width if "more" in inputs else None)

    ports = (Port("tokens"), Port("more", optional=True))
    return Piece("projector", "honest", Settings, **{"build": build, "shapes": shapes, "ports": ports, **changes})


def test_an_honest_step_passes():
    assert len(keeps_its_promises(step(), light=False)) >= 14


STEPS = {
    "leaky mask": (Leaky, "padding never leaks", "values differ by"),
    "masked outputs": (Unclean, "masked outputs are zero", "hold values up to"),
    "wrong width": (Wide, "`shapes` announces", "33 wide; `shapes` announced 32"),
    "more tokens": (Many, "`shapes` announces", "has 8 tokens a time step; `shapes` announced at most 4"),
    "other block": (Renamed, "`shapes` announces", "puts out face; `shapes` announced tokens"),
    "looks at its batch": (Sociable, "a row does not depend", "alone and in a batch of 4"),
    "gradient dropped": (Cut, "and reach every port", "port 'tokens' gets no gradient"),
    "idle parameter": (
        Unused,
        "every trainable parameter",
        "2 of 9 trainable parameters get no gradient: spare.weight",
    ),
    "a layer left out": (Skipping, "every trainable parameter", "2 of 9 trainable parameters get no gradient: extra.w"),
    "muted parameter": (Muted, "gradients are finite and not zero", "parameter 'spare.weight' gets a gradient of zero"),
    "NaN on empty frames": (NaNOnEmpty, "no NaN", "row 2 has an empty frame inside"),
    "random in eval": (Moody, "eval mode repeats", "the second time"),
    "state in eval": (Counting, "eval mode repeats", "changed 'calls'"),
    "needs an optional port": (Needy, "optional ports", "NoneType"),
    "port's name": (Misnamed, "forward takes", "the ports are tokens, more"),
}


@pytest.mark.parametrize("case", STEPS)
def test_a_step_that_breaks_a_promise_is_caught(case):
    module, promise, words = STEPS[case]
    _, text = broken(step(module))
    assert promise in text
    assert words in text


class Broken(Honest):
    def hide(self, values, mask):
        return values @ torch.zeros(3, 3)


def test_one_mistake_is_told_once_with_the_line_that_the_author_wrote():
    found, text = broken(step(Broken))
    assert list(found) == ["`shapes` announces what the built module puts out"]
    assert "(at test_promises.py:" in text
    assert "`return values @ torch.zeros(3, 3)`" in text
    assert "so 8 other promises could not be looked at" in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("file", "foreign"),
    [
        (Path(affectkit.__file__).parent / "plan.py", True),
        (Path(affectkit.__file__).parent / "commands" / "fit.py", True),  # once only the folder of `testing` counted
        (Path(torch.__file__).parent / "nn" / "modules" / "linear.py", True),
        (Path(affectkit.__file__).parent.parent / "somebodys_plugin.py", False),
        (Path(__file__), False),
    ],
)
def test_files_of_the_frame_are_no_place_where_a_piece_is_mended(file, foreign):
    assert is_foreign(str(file)) is foreign


def test_what_a_piece_says_of_itself_is_believed_and_checked():
    keeps_its_promises(step(Sociable, per_batch=True), light=False)
    keeps_its_promises(step(Muted), light=False, idle={"spare.*": "multiplied by zero for this test"})
    _, text = broken(step(), idle={"one.*": "no reason at all"})
    assert "'one.*' of idle parameters excuses none" in text


class Tells(Honest):
    def facts(self, blocks):
        return [{"age": Fact("20-29", "estimate", 0.9)} for _ in blocks["tokens"].mask]

    def loss(self, blocks, facts):
        return blocks["tokens"].tokens.mean()


def test_facts_and_a_loss_are_there_where_the_piece_says_so():
    keeps_its_promises(step(Tells, tells=("age",), objective=True), light=False)
    _, text = broken(step(Tells, tells=lambda settings: ("age", "race")))
    assert "facts gives age; the piece tells age, race" in text
    assert "the module has `loss`; the piece says objective=False" in text
    _, text = broken(step(tells=("age",), objective=True))
    assert "the piece tells age, and the module has no `facts`" in text
    assert "the module has no `loss`; the piece says objective=True" in text


class Padded(nn.Module):
    """A convolution over sound that feels how long the batch is."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, wave):
        x = wave.values * wave.mask
        x = self.scale * x / x.shape[1] * 1000
        return {"frames": TokenBlock("frames", x[:, None, :100, None], wave.mask[:, None, :100])}


@pytest.mark.parametrize("pads", [True, False])
def test_pads_is_true_where_it_says_so(pads):
    piece = Piece(
        "encoder",
        "padded",
        Settings,
        lambda *_: Padded(),
        lambda *_: {"frames": Shape("tokens", 1, 100, 1)},
        (Port("wave", "wave"),),
        pads=pads,
        prepare=lambda settings, port, raw: raw.samples,
    )
    if pads:
        assert "(and `pads` is true)" in broken(piece)[1]
    else:
        keeps_its_promises(piece, light=False)


@dataclass
class Warm:
    """Not frozen."""

    size: int = 1
    """A number."""


@dataclass(frozen=True)
class Silent:
    """No sentence, strange type, default of another type."""

    size: int = 1
    path: Path = Path("x")
    """A path."""
    share: float = "much"  # type: ignore[assignment]
    """A share."""


@dataclass(frozen=True)
class Clashing:
    """A setting that is called like a port."""

    tokens: int = 1
    """A number."""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": Warm}, "Warm is not frozen"),
        ({"settings": Silent}, "field 'size' has no sentence under it"),
        ({"settings": Silent}, "field 'path' has the type Path, which no recipe can give"),
        ({"settings": Silent}, "field 'share' has the default 'much'"),
        ({"settings": Clashing}, "'tokens' is both a port and a setting"),
        ({"name": "My Step"}, "name 'My Step' is not lower case"),
        ({"tiny": {"hiden": 3}}, "tiny: hiden: unknown key 'hiden'"),
        ({"kind": "encoder", "shapes": None}, "a step has `shapes`"),
        ({"build": lambda settings: None}, "the frame calls it with 3 arguments"),
        ({"build": lambda *_: 5}, "build returned int, not an nn.Module"),
        ({"ports": (Port("tokens", "wave"),)}, "eats a view, so the piece needs `prepare`"),
    ],
)
def test_a_record_that_is_not_whole_is_caught(changes, words):
    assert words in broken(dataclasses.replace(step(), **changes))[1]


def test_a_missing_package_is_no_broken_promise():
    with pytest.raises(InputError, match="needs no_such_package"):
        keeps_its_promises(step(needs=("no_such_package",)))


LOOSE = '''
from dataclasses import dataclass
from affectkit import Piece, Port, hookimpl
TOP

@dataclass(frozen=True)
class Settings:
    """A step."""

def shapes(settings, inputs, width):
    INSIDE
    return {"tokens": inputs["tokens"]}

def build(settings, inputs, width):
    from torch import nn
    from affectkit import TokenBlock

    class Same(nn.Module):
        def forward(self, tokens):
            return {"tokens": TokenBlock("tokens", tokens.tokens * tokens.mask[..., None], tokens.mask)}

    return Same()

@hookimpl
def affectkit_pieces():
    return [Piece("adapter", "same", Settings, build, shapes, (Port("tokens"),))]
'''


@pytest.mark.parametrize(
    ("top", "inside", "what"), [("import torch", "", "its module"), ("", "import torch", "`shapes`")]
)
def test_torch_before_it_is_needed_is_caught(top, inside, what, tmp_path):
    path = tmp_path / "same.py"
    path.write_text(LOOSE.replace("TOP", top).replace("INSIDE", inside))
    piece = Registry.load([path]).piece("adapter", "same")
    with pytest.raises(BrokenPromise, match=rf"{what} imported torch; import it inside `build`"):
        keeps_its_promises(piece)


def test_a_loose_file_that_is_light_passes(tmp_path):
    path = tmp_path / "same.py"
    path.write_text(LOOSE.replace("TOP", "").replace("INSIDE", "pass"))
    kept = keeps_its_promises(Registry.load([path]).piece("adapter", "same"))
    assert "nothing heavy is imported before the piece is built" in kept


class ByTheOther(Honest):
    """Takes the row's count of tokens from a first port that may be empty: NaN where it is."""

    def forward(self, more, tokens):
        made = super().forward(tokens, None)["tokens"]
        if more is None:
            return {"tokens": made}
        count = more.mask.sum((1, 2))[:, None, None, None]
        return self.out(made.tokens * (count / count), made.mask)


def test_an_optional_first_port_is_tried_empty_and_unfilled():
    first = (Port("more", optional=True), Port("tokens"))
    same = lambda settings, inputs, width: {"tokens": dataclasses.replace(inputs["tokens"], width=width)}  # noqa: E731
    piece = dataclasses.replace(
        step(ByTheOther), ports=first, shapes=same, build=lambda s, inputs, w: ByTheOther(inputs["tokens"].width, w)
    )
    found, text = broken(piece)
    assert "no NaN, also where frames are empty" in found
    assert "not finite in row 2" in text

"""`affectkit.build`: a step by itself, in a network of one's own."""

import pytest
import torch
from torch import nn

import affectkit
from affectkit import Shape, TokenBlock, ViewBlock
from affectkit.errors import InputError


def tokens(*shape):
    return TokenBlock("x", torch.randn(*shape), torch.ones(shape[:3], dtype=torch.bool))


def test_steps_are_chained_by_their_shapes():
    torch.manual_seed(0)
    adapter = affectkit.build(
        "adapter", "conv_transformer", {"width": 32, "layers": 1}, {"tokens": Shape(tokens=40, width=16)}
    )
    assert isinstance(adapter, nn.Module)
    (name, shape), *_ = adapter.out_shapes.items()
    projector = affectkit.build("projector", "mlp", {"depth": 1}, {"tokens": shape}, width=24)
    assert projector.out_shapes["tokens"].width == 24
    out = projector(tokens=adapter(tokens=tokens(2, 1, 40, 16))[name])["tokens"]
    assert out.tokens.shape[3] == 24
    assert out.tokens.shape[2] <= projector.out_shapes["tokens"].tokens
    torch.manual_seed(0)
    again = affectkit.build(
        "adapter", "conv_transformer", {"width": 32, "layers": 1}, {"tokens": Shape(tokens=40, width=16)}
    )
    assert all(torch.equal(a, b) for a, b in zip(adapter.parameters(), again.parameters(), strict=True))


def test_a_miner_trains_inside_ones_own_lightning_module():
    import lightning

    class Mine(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            shapes = {"tokens": Shape(time=2, tokens=9, width=8), "global_prior": Shape(time=2, tokens=1, width=4)}
            self.miner = affectkit.build("miner", "face_info_mining", {"heads": 2}, shapes)
            self.head = nn.Linear(next(iter(self.miner.out_shapes.values())).width, 3)

        def training_step(self, batch, index):
            scene, prior, labels = batch
            blocks = self.miner(tokens=scene, global_prior=prior)
            block = next(iter(blocks.values()))
            return nn.functional.cross_entropy(self.head(block.tokens.mean((1, 2))), labels)

    mine = Mine()
    mine.training_step((tokens(4, 2, 9, 8), tokens(4, 2, 1, 4), torch.tensor([0, 1, 2, 0])), 0).backward()
    assert mine.miner in mine.modules()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in mine.miner.parameters())
    assert [*mine.miner.out_shapes] == ["enriched", "face_tokens"]


def test_an_encoder_eats_views():
    encoder = affectkit.build("encoder", "image_patches", {"size": 16, "patch": 8, "width": 16, "layers": 1, "heads": 2},
                              {"pixels": Shape("pixels", time=1)})  # fmt: skip
    view = ViewBlock("look", torch.zeros(2, 1, 3, 16, 16, dtype=torch.uint8), torch.ones(2, 1, dtype=torch.bool))
    out = encoder(pixels=view)
    assert set(encoder.out_shapes) == set(out)


TOKENS = {"tokens": Shape(tokens=4, width=8)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("projetor", "mlp", {}, TOKENS), "unknown kind of step 'projetor'.*did you mean 'projector'"),
        (("metric", "uar", {}, {}), "unknown kind of step 'metric'.*all else is built from a recipe"),
        (("projector", "mpl", {}, TOKENS), "unknown projector 'mpl'.*did you mean 'mlp'"),
        (("adapter", "mlp", {}, TOKENS), "'mlp' is no adapter.*write 'projector'"),
        (("projector", "mlp", {"dept": 1}, TOKENS), "mlp.dept: unknown key 'dept'.*did you mean 'depth'"),
        (("projector", "mlp", {"depth": 0}, TOKENS), "mlp.depth: must be at least 1"),
        (("projector", "mlp", {}, {"token": Shape(width=8)}), "unknown port 'token'.*did you mean 'tokens'"),
        (("projector", "mlp", {}, {}), "nothing is given for the port 'tokens'"),
        (("projector", "mlp", {}, {"tokens": Shape("pixels")}), "the port 'tokens' eats tokens, not pixels"),
        (("projector", "mlp", {}, TOKENS), "width"),
    ],
)
def test_what_cannot_be_built_is_told_with_the_nearest(given, said):
    with pytest.raises(InputError, match=f"(?s){said}"):
        affectkit.build(*given)

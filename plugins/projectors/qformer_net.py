"""A Q-Former by frame or by clip, with time positions, and a linear layer."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.adapters._masked import block, clean
from affectkit_plugins.projectors._qformer import QFormer, repeated
from affectkit_plugins.projectors._qformer_settings import QFormerSettings
from jaxtyping import Float
from torch import Tensor, nn

from affectkit.blocks import TokenBlock, ViewBlock


@dataclass(frozen=True)
class Layout:
    """What is done to the tokens before the queries read them."""

    whole_clip: bool = False
    positions: int = 0
    norm: bool = False


class QFormerProjector(nn.Module):
    """tokens [b t n d] (and question ids [b l]) -> tokens [b t q w], or [b 1 q w] for the whole clip.

    Without an LLM's width the queries stay as wide as the Q-Former is inside.
    """

    stand_in: str = ""
    """What the step has only a stand-in for, in words; see `affectkit.weights`."""

    def __init__(
        self, settings: QFormerSettings, width: int, llm: int | None, reads_text: bool, layout: Layout
    ) -> None:
        super().__init__()
        self.whole_clip = layout.whole_clip
        self.norm = nn.LayerNorm(width) if layout.norm else nn.Identity()
        self.positions = nn.Embedding(layout.positions, width) if layout.positions else None
        self.qformer = QFormer(settings, width, reads_text)
        self.projector = nn.Identity() if llm is None else nn.Linear(settings.hidden, llm)

    def forward(self, tokens: TokenBlock, question: ViewBlock | None = None) -> dict[str, TokenBlock]:
        time = 1 if self.whole_clip else tokens.tokens.shape[1]
        seen = self._placed(self.norm(clean(tokens.tokens, tokens.mask)))
        axes = (1, 2) if self.whole_clip else (0, 1)
        mask = tokens.mask.flatten(*axes)
        out = self.projector(self.qformer(seen.flatten(*axes), mask, *repeated(question, time))).unflatten(
            0, (-1, time)
        )
        real = mask.any(-1).view(-1, time, 1).expand(out.shape[:-1])
        return block("tokens", out, real)

    def _placed(self, tokens: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t n d"]:
        if self.positions is None:
            return tokens
        time = tokens.shape[1]
        if time > self.positions.num_embeddings:
            raise ValueError(f"{time} time steps are more than the {self.positions.num_embeddings} positions there are")
        return tokens + self.positions.weight[:time, None]

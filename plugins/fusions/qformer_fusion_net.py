"""Two sequences joined in time, read by a Q-Former."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import block, clean, in_one_row
from affectkit_plugins.fusions.qformer_fusion import Settings
from affectkit_plugins.projectors.qformer_net import QFormer
from jaxtyping import Bool, Float
from torch import Tensor, nn

from affectkit.blocks import TokenBlock


class QFormerFusion(nn.Module):
    """video [b t n v], audio [b u m a] -> tokens [b 1 q w]; a row needs one of the two.

    What is real moves to the front before positions are added: a clip gets the same positions alone and
    padded.
    """

    def __init__(self, settings: Settings, video: int, audio: int, llm: int) -> None:
        super().__init__()
        wide = max(video, audio)
        self.video_width = nn.Linear(video, wide)
        self.audio_width = nn.Linear(audio, wide)
        self.positions = nn.Embedding(settings.positions, wide)
        self.qformer = QFormer(settings, wide, reads_text=False)
        self.projector = nn.Linear(settings.hidden, llm)

    def forward(self, video: TokenBlock, audio: TokenBlock) -> dict[str, TokenBlock]:
        (seen, seen_mask), (heard, heard_mask) = in_one_row(video), in_one_row(audio)
        steps, mask = _front(
            torch.cat((self.video_width(seen), self.audio_width(heard)), 1),
            torch.cat((seen_mask, heard_mask), 1),
        )
        longest = int(mask.sum(1).max())
        if longest > self.positions.num_embeddings:
            raise ValueError(
                f"{longest} steps are more than the {self.positions.num_embeddings} positions of this fusion"
            )
        steps, mask = steps[:, : max(longest, 1)], mask[:, : max(longest, 1)]
        steps = clean(steps + self.positions.weight[: steps.shape[1]], mask)
        out = self.projector(self.qformer(steps, mask))
        return block("tokens", out.unsqueeze(1), mask.any(1)[:, None, None].expand(-1, 1, out.shape[1]))


def _front(
    steps: Float[Tensor, "b m d"], mask: Bool[Tensor, "b m"]
) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"]]:
    """Real steps first, in their order."""
    order = torch.argsort(mask.to(torch.int8), dim=1, descending=True, stable=True)
    return steps.gather(1, order.unsqueeze(2).expand_as(steps)), mask.gather(1, order)

"""The network of `face_info_mining`: gated cross-attention to facial priors, and face tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from affectkit_plugins.miners._regions_net import RegionTokens, in_face, same_time, whole
from affectkit_plugins.miners.face_info_mining import Settings
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock

Tokens = Float[Tensor, "b t n d"]
Prior = Float[Tensor, "b t m d"]


class FaceInfoMining(nn.Module):
    """V' = V + tanh(a_g) A_g + tanh(a_l) A_l, A = attention of V to a prior, a = 0 at first; frame by frame.

    Face tokens are an MLP of each prior's mean token, and a learned token where a frame shows no face.
    """

    def __init__(self, settings: Settings, widths: Mapping[str, int], paths: Mapping[str, tuple[str, ...]]) -> None:
        """Widths of `tokens` and of the ports of the `paths`."""
        super().__init__()
        self.settings, self.paths = settings, dict(paths)
        self.chained = settings.order != "parallel"
        width = widths["tokens"]
        priors = [port for ports in paths.values() for port in ports if port != "landmarks"]
        self.enter = nn.ModuleDict(
            {n: nn.Sequential(nn.LayerNorm(widths[n]), nn.Linear(widths[n], width)) for n in priors}
        )
        self.regions: RegionTokens | None = None
        if "landmarks" in widths:
            between = width if settings.region_hidden is None else settings.region_hidden
            self.regions = RegionTokens(settings.regions, widths["landmarks"], width, between)
        self.look = nn.ModuleDict()
        if settings.inject != "tokens":
            self.look.update({n: GatedAttention(width, settings.heads, settings.dropout) for n in paths})
        self.tell = nn.ModuleDict()
        if settings.inject != "enrich":
            self.tell.update({n: Tell(width, settings.hidden or width) for n in paths})

    def forward(
        self,
        tokens: TokenBlock,
        global_prior: TokenBlock | None = None,
        local_prior: TokenBlock | None = None,
        landmarks: TokenBlock | None = None,
    ) -> dict[str, TokenBlock]:
        """Visual tokens [b t n d], priors [b t m e] and landmarks [b t k 2] -> `enriched` [b t n d], `face_tokens`
        [b t 1..2 d].

        A frame whose prior is wholly masked shows no face: its visual tokens stay as they are. Landmarks count only in
        frames that have all of them. Raises `InputError` where a prior has not the tokens' time.
        """
        ports = {"global_prior": global_prior, "local_prior": local_prior, "landmarks": landmarks}
        used = {port for path in self.paths.values() for port in path}
        given = {n: b if b is None or n not in used else same_time(n, b, tokens) for n, b in ports.items()}
        entered = {path: self._entered(ports, given) for path, ports in self.paths.items()}
        out = {"enriched": TokenBlock("enriched", self._enrich(tokens, entered), tokens.mask)}
        if self.tell:
            out["face_tokens"] = self._tell(tokens, entered)
        return out

    def _entered(self, ports: tuple[str, ...], given: Mapping[str, TokenBlock | None]) -> tuple[Tensor, Tensor] | None:
        """The tokens of one path at the visual tokens' width, with their mask."""
        parts = []
        for port in ports:
            block = given[port]
            if block is None:
                continue
            if port == "landmarks":
                assert self.regions is not None
                points, seen = whole(block, sum(self.settings.regions))
                face = in_face(points) if self.settings.coordinates == "face" else points
                parts.append((self.regions(face), seen[:, :, None].expand(-1, -1, len(self.settings.regions))))
            else:
                parts.append((self.enter[port](block.tokens), block.mask))
        if not parts:
            return None
        return torch.cat([x for x, _ in parts], 2), torch.cat([mask for _, mask in parts], 2)

    def _enrich(self, tokens: TokenBlock, entered: Mapping[str, tuple[Tensor, Tensor] | None]) -> Tensor:
        result = tokens.tokens.masked_fill(~tokens.mask[..., None], 0.0)
        for name, look in self.look.items():
            prior = entered[name]
            if prior is not None:
                seen = look(result if self.chained else tokens.tokens, *prior)
                result = result + seen * tokens.mask[..., None]
        return result

    def _tell(self, tokens: TokenBlock, entered: Mapping[str, tuple[Tensor, Tensor] | None]) -> TokenBlock:
        real = tokens.mask.any(-1)
        names = sorted(self.tell)  # global before local, whatever the order of the attentions
        told = torch.stack([self.tell[name](entered[name], real) for name in names], 2)
        return TokenBlock("face_tokens", told, real[:, :, None].expand(-1, -1, len(names)).contiguous())


class GatedAttention(nn.Module):
    """Pre-norm attention of visual tokens to one prior, times the tanh of a gate that starts at zero."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Tokens, prior: Prior, mask: Bool[Tensor, "b t m"]) -> Tokens:
        """Tokens [b t n d], prior [b t m d], its mask [b t m] -> [b t n d]; zero where a frame has none."""
        b, t, n, _ = tokens.shape
        face = mask.any(-1)
        # A frame without a face attends to all of its padding, so that no soft-max is empty; the result is
        # zeroed below.
        allowed = (mask | ~face[..., None]).flatten(0, 1)[:, None, None]
        q = self._split(self.query(self.norm(tokens)))
        k, v = self._split(self.key(prior)), self._split(self.value(prior))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        seen = self.out(seen.transpose(1, 2).reshape(b, t, n, -1))
        return self.gate.tanh() * self.dropout(seen) * face[..., None, None]

    def _split(self, x: Tensor) -> Tensor:
        """[b t n d] -> [b*t heads n d/heads]: each frame is a batch entry of its own."""
        b, t, n, d = x.shape
        return x.view(b * t, n, self.heads, d // self.heads).transpose(1, 2)


class Tell(nn.Module):
    """One prior's mean token through a two-layer MLP; a learned token where there is no face."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.nobody = nn.Parameter(torch.randn(width) * 0.02)

    def forward(
        self, prior: tuple[Prior, Bool[Tensor, "b t m"]] | None, real: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t d"]:
        """Prior [b t m d] with its mask (None: no face anywhere), frames that are real [b t] -> [b t d]."""
        if prior is None:
            told = self.nobody.expand(*real.shape, -1)
        else:
            tokens, mask = prior
            mean = (tokens * mask[..., None]).sum(2) / mask.sum(2).clamp(min=1)[..., None]
            told = torch.where(mask.any(-1)[..., None], self.mlp(mean), self.nobody)
        return told * real[..., None]

"""The nearest mean as a linear model: |x - m|^2 is smallest where x·m - |m|^2 / 2 is largest."""

from __future__ import annotations

import torch
from affectkit_plugins.heads._linear_net import scale_of
from affectkit_plugins.heads.linear_probe_net import LinearProbe

from affectkit.heads import FeatureBatches


class NearestMean(LinearProbe):
    """tokens, blocks [b t n d_i] each -> scores [b 1 1 k] of k labels. A label without training samples is never nearest."""

    def fit(self, features: FeatureBatches) -> None:
        """Take the mean of each label. Raises RunError where fewer than two labels occur."""
        vectors, samples = self.gather(features)
        truths = self.truths(samples)
        self.check(truths, len(samples))
        x = torch.cat(vectors[self.ways[0]]).double()
        mean, spread = scale_of(x)
        counts = truths.sum(0)
        means = truths.T @ ((x - mean) / spread) / counts.clamp(min=1)[:, None]
        bias = torch.where(counts > 0, -(means**2).sum(1) / 2, torch.full_like(counts, -1e9))
        self.put(0, (mean, spread), (means, bias))
        self.chosen = {"tokens": self.ways[0], "rows": len(samples)}

"""The CIFAR pair of networks and the paradigms' losses in PyTorch, for comparisons with attnflow's.

Needs PyTorch, which is no part of attnflow.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A convolution from a given kernel, ReLU, and pooling, after or before it."""

    def __init__(self, kernel: np.ndarray, bias: bool, pool: bool, pool_first: bool) -> None:
        super().__init__()
        size, _, inputs, outputs = kernel.shape
        self.conv = nn.Conv2d(inputs, outputs, size, bias=bias)
        self.pool, self.pool_first = pool, pool_first
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
            if bias:
                self.conv.bias.zero_()

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        if not self.pool:
            return F.relu(x)
        return F.relu(F.max_pool2d(x, 2)) if self.pool_first else F.max_pool2d(F.relu(x), 2)


class Net(nn.Module):
    """One network of the pair."""

    def __init__(
        self,
        name: str,
        layers: tuple[str, ...],
        bias: bool,
        start: dict[str, np.ndarray],
        pool_first: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Block(start[f"{name}.{layer}"], bias, layer != "third", pool_first)
                for layer in layers
            )
        )
        kernels = [v for key, v in start.items() if key.startswith(f"{name}.dense")]
        self.dense = nn.ModuleList(nn.Linear(*k.shape, bias=bias) for k in kernels)
        with torch.no_grad():
            for layer, kernel in zip(self.dense, kernels, strict=True):
                layer.weight.copy_(torch.tensor(kernel.T))
                if bias:
                    layer.bias.zero_()

    def forward(self, x: Any) -> Any:
        x = self.blocks(x).permute(0, 2, 3, 1).flatten(1)  # as the kernels were laid out
        for layer in self.dense[:-1]:
            x = F.relu(layer(x))
        return self.dense[-1](x)


def pair(start: dict[str, np.ndarray], pool_first: bool) -> tuple[Net, Net]:
    """Focus and classifier from ``training.weights``."""
    return (
        Net("focus", ("first", "second", "third"), False, start, pool_first),
        Net("classifier", ("first", "second"), True, start, pool_first),
    )


def loss_of(paradigm: str, focus: Any, classifier: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The mean loss of mosaics x [B, m, 3, side, side] with labels y [B], and the scores [B, m]."""
    segments = [x[:, i].contiguous(memory_format=torch.channels_last) for i in range(x.shape[1])]
    scores = torch.cat([focus(s) for s in segments], dim=1)
    log_weights = F.log_softmax(scores, dim=1)
    if paradigm == "soft":
        pooled = torch.einsum("bm,bmcij->bcij", log_weights.exp(), x)
        return F.cross_entropy(classifier(pooled), y), scores
    each = F.log_softmax(torch.stack([classifier(s) for s in segments], dim=1), dim=2)
    each = each.gather(2, y[:, None, None].expand(-1, x.shape[1], 1))[..., 0]
    if paradigm == "hard":
        return -(log_weights.exp() * each).sum(1).mean(), scores
    return -torch.logsumexp(log_weights + each, dim=1).mean(), scores

"""The networks that the benchmarks time in PyTorch: those of `mfm-nn`, of the same sizes."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Perceptron(nn.Module):
    """v(s, u, x; t, x_t) in 2D: Fourier features of the times, then `depth` layers of SiLU.

    The first layer is split by input, so that what several rows share is computed once and broadcast.
    """

    def __init__(self, dimension=2, width=256, depth=4, frequencies=8):
        super().__init__()
        self.frequencies = nn.Buffer(math.pi * torch.arange(1, frequencies + 1))
        self.times = nn.Linear(3 * (1 + 2 * frequencies), width)
        self.x = nn.Linear(dimension, width, bias=False)
        self.state = nn.Linear(dimension, width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, dimension)

    def forward(self, s, u, x, t, state):
        times = torch.stack([s, u, t], -1)
        angles = times.unsqueeze(-1) * self.frequencies
        features = torch.cat([times, angles.sin().flatten(-2), angles.cos().flatten(-2)], -1)
        h = F.silu(self.times(features) + self.x(x) + self.state(state))
        for layer in self.hidden:
            h = F.silu(layer(h))
        return self.last(h)


class Block(nn.Module):
    """adaLN-zero: attention and a perceptron, each modulated by the condition.

    `fused` attention is PyTorch's own, which has no forward-mode derivative; without, it is a product, a softmax and a product.
    """

    def __init__(self, hidden, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.modulation = nn.Linear(hidden, 6 * hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def attend(self, q, k, v):
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v)
        return torch.softmax(q @ k.transpose(2, 3) * q.shape[3] ** -0.5, 3) @ v

    def forward(self, x, c):
        batch, tokens, hidden = x.shape
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, dim=2)
        h = F.layer_norm(x, [hidden], eps=1e-6) * (1 + scale) + shift
        q, k, v = self.qkv(h).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        h = self.attend(q, k, v).transpose(1, 2).reshape(batch, tokens, hidden)
        x = x + gate * self.out(h)
        h = F.layer_norm(x, [hidden], eps=1e-6) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(h), approximate="tanh"))


class Transformer(nn.Module):
    """v(s, u, x; t, x_t) of x [batch, tokens, patch]: a stack of blocks, the times as their condition."""

    def __init__(self, patch, hidden, depth, heads, tokens, features=256, fused=True):
        super().__init__()
        self.frequencies = nn.Buffer(1000 * torch.exp(torch.arange(features // 2) * (-9.21 / (features // 2))))
        self.embed, self.embed_state = nn.Linear(patch, hidden), nn.Linear(patch, hidden)
        self.state_modulation = nn.Linear(hidden, 2 * hidden)
        self.positions = nn.Buffer(torch.zeros(1, tokens, hidden))
        self.times = nn.ModuleList(nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, hidden)) for _ in range(3))
        self.blocks = nn.ModuleList(Block(hidden, heads, fused) for _ in range(depth))
        self.modulation, self.last = nn.Linear(hidden, 2 * hidden), nn.Linear(hidden, patch)

    def forward(self, s, u, x, t, state):
        angles = [time[:, None] * self.frequencies.to(x.dtype) for time in (s, u, t)]
        of_s, of_u, of_t = (net(torch.cat([a.cos(), a.sin()], 1)) for net, a in zip(self.times, angles))
        shift, scale = self.state_modulation(F.silu(of_t))[:, None].chunk(2, dim=2)
        h = self.embed(x) + self.embed_state(state) * (1 + scale) + shift + self.positions
        c = F.silu(of_s + of_u + of_t)
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation(c)[:, None].chunk(2, dim=2)
        return self.last(F.layer_norm(h, [h.shape[2]], eps=1e-6) * (1 + scale) + shift)

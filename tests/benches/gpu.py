"""What `gpu.rs` compares with: the same work in PyTorch on the same GPU.

    gpu.py PART QUICK(0|1)

PART is bandwidth, products, attention or transformer; prints lines "NAME SECONDS".
"""

import statistics
import sys

import torch
import torch.nn.functional as F
from torch import nn


def seconds(work, rounds=7, calls=10):
    """The median over rounds of the seconds of one call, by events of the GPU."""
    for _ in range(3):
        work()
    found = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / 1e3 / calls)
    return statistics.median(found)


def say(name, work, **how):
    print(f"{name} {seconds(work, **how):.9f}", flush=True)


def bandwidth(quick):
    n = 1 << (16 if quick else 27)
    x, y = torch.randn(n, device="cuda"), torch.empty(n, device="cuda")
    say("copy", lambda: y.copy_(x))


def products(quick):
    sizes = [(64, 32, 48)] if quick else [(8192, 1152, 1152), (8192, 1152, 4608), (8192, 8192, 8192)]
    for name, kind, tf32 in [("f32", torch.float32, False), ("tf32", torch.float32, True), ("bf16", torch.bfloat16, False)]:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for m, k, n in sizes:
            a, b = torch.randn(m, k, device="cuda").to(kind), torch.randn(n, k, device="cuda").to(kind)
            say(f"{name}-{m}x{k}x{n}", lambda: a @ b.T)


def attention(quick):
    shape = (2, 2, 16, 24) if quick else (32, 16, 256, 72)
    q, k, v, g = (torch.randn(shape, device="cuda").to(torch.bfloat16) for _ in range(4))
    say("forward", lambda: F.scaled_dot_product_attention(q, k, v))
    inputs = [x.requires_grad_() for x in (q, k, v)]
    out = F.scaled_dot_product_attention(*inputs)
    say("backward", lambda: torch.autograd.grad(out, inputs, g, retain_graph=True))


class Block(nn.Module):
    """adaLN-zero: attention and a perceptron, each modulated by the condition."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(hidden, 6 * hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x, c):
        batch, tokens, hidden = x.shape
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(F.silu(c))[:, None].chunk(6, dim=2)
        h = F.layer_norm(x, [hidden], eps=1e-6) * (1 + scale) + shift
        q, k, v = self.qkv(h).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, hidden)
        x = x + gate * self.out(h)
        h = F.layer_norm(x, [hidden], eps=1e-6) * (1 + scale2) + shift2
        return x + gate2 * self.down(F.gelu(self.up(h), approximate="tanh"))


class Transformer(nn.Module):
    """A stack of blocks on patches of 2 x 2 of x and of the state, with three times."""

    def __init__(self, hidden, depth, heads, tokens):
        super().__init__()
        self.embed, self.embed_state = nn.Linear(16, hidden), nn.Linear(16, hidden)
        self.positions = nn.Buffer(torch.zeros(1, tokens, hidden))
        self.times = nn.ModuleList(nn.Sequential(nn.Linear(256, hidden), nn.SiLU(), nn.Linear(hidden, hidden)) for _ in range(3))
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(depth))
        self.modulation, self.final = nn.Linear(hidden, 2 * hidden), nn.Linear(hidden, 16)

    def forward(self, x, state, times):
        frequencies = torch.exp(torch.arange(128, device=x.device) * (-9.21 / 128)).to(x.dtype)
        angles = [t[:, None] * 1000 * frequencies for t in times]
        c = sum(net(torch.cat([a.cos(), a.sin()], 1)) for net, a in zip(self.times, angles))
        h = self.embed(x) + self.embed_state(state) + self.positions
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation(F.silu(c))[:, None].chunk(2, dim=2)
        return self.final(F.layer_norm(h, [h.shape[2]], eps=1e-6) * (1 + scale) + shift)


def transformer(quick):
    hidden, depth, heads, tokens, batch = (64, 2, 2, 16, 2) if quick else (1152, 28, 16, 256, 32)
    kind = torch.bfloat16
    model = Transformer(hidden, depth, heads, tokens).cuda().to(kind)
    parameters = list(model.parameters())
    # What is learned is kept in f32, in which small steps are not lost.
    kept = [p.detach().float().requires_grad_() for p in parameters]
    for k in kept:
        k.grad = torch.empty_like(k)
    average = [k.detach().clone() for k in kept]
    optimiser = torch.optim.Adam(kept, lr=1e-4, fused=True)

    def step():
        data, noise, other = (torch.randn(batch, tokens, 16, device="cuda").to(kind) for _ in range(3))
        s, t = torch.rand(2, batch, device="cuda").to(kind)
        x = torch.lerp(noise, data, s[:, None, None])
        state = torch.lerp(other, data, t[:, None, None])
        loss = (model(x, state, [s, s, t]) - (data - noise)).square().mean()
        model.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            torch._foreach_copy_([k.grad for k in kept], [p.grad for p in parameters])
            optimiser.step()
            torch._foreach_lerp_(average, kept, 1e-3)
            torch._foreach_copy_(parameters, kept)

    say("step", step, rounds=3, calls=5)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU")
    {"bandwidth": bandwidth, "products": products, "attention": attention, "transformer": transformer}[sys.argv[1]](sys.argv[2] == "1")

"""What `gpu.rs` compares with: the same work in PyTorch on the same GPU.

    gpu.py PART QUICK(0|1)

PART is bandwidth, products, attention or transformer; prints lines "NAME SECONDS".
"""

import statistics
import sys

import torch
import torch.nn.functional as F
from networks import Transformer


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


def transformer(quick):
    hidden, depth, heads, tokens, batch = (64, 2, 2, 16, 2) if quick else (1152, 28, 16, 256, 32)
    kind = torch.bfloat16
    model = Transformer(16, hidden, depth, heads, tokens).cuda().to(kind)
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
        loss = (model(s, s, x, t, state) - (data - noise)).square().mean()
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

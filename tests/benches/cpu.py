"""What `speed.rs` and `dit.rs` compare with: the same work in PyTorch on the same cores.

    cpu.py PART MODE THREADS [OBJECTIVE]

PART is training, steering, draw or transformer; MODE is eager or compiled; OBJECTIVE, of the transformer, is semigroup or mean-flow. Prints lines
"NAME SECONDS", each the median of single calls; the transformer's also "peak MiB", the most memory that was resident.
"""

import functools
import math
import resource
import statistics
import sys
import time

import torch
from networks import Perceptron, Transformer

BATCH, WARM, CALLS = 4096, 5, 30


def seconds(work, warm=WARM, calls=CALLS):
    for _ in range(warm):
        work()
    found = []
    for _ in range(calls):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def objective(velocity, data, noises, uniforms, mean_flow=False):
    """The loss on the diagonal and that of consistency: along two parts of a jump, or by the derivative along the flow."""
    column = lambda time: time.view(-1, *[1] * (data.dim() - 1))
    t = uniforms[0] ** 2 * (uniforms[1] > 0.1)
    state = torch.lerp(noises[0], data, column(t))
    s = uniforms[2]
    x = torch.lerp(noises[1], data, column(s))
    diagonal = (velocity(s, s, x, t, state) - (data - noises[1])).square().flatten(1).sum(1).mean()
    s, u = torch.minimum(uniforms[3], uniforms[4]), torch.maximum(uniforms[3], uniforms[4])
    x = torch.lerp(noises[2], data, column(s))
    if mean_flow:
        along = data - noises[2]
        tangents = (torch.ones_like(s), torch.zeros_like(u), along)
        jump, slope = torch.func.jvp(lambda s, u, x: velocity(s, u, x, t, state), (s, u, x), tangents)
        target = (along + column(u - s) * slope).detach()
    else:
        share = uniforms[5]
        middle = s + share * (u - s)
        with torch.no_grad():
            first = velocity(s, middle, x, t, state)
            second = velocity(middle, u, x + column(middle - s) * first, t, state)
            target = torch.lerp(second, first, column(share))
        jump = velocity(s, u, x, t, state)
    return diagonal + (jump - target).square().flatten(1).sum(1).mean()


def trainer(network, loss, data, shape):
    """One step: a batch of random data, Adam, and the moving average of the parameters."""
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    parameters = [p.detach() for p in network.parameters()]
    average = [p.clone() for p in parameters]

    def step():
        samples = data()
        optimiser.zero_grad(set_to_none=True)
        value = loss(network, samples, torch.randn(3, *shape), torch.rand(6, shape[0]))
        value.backward()
        optimiser.step()
        torch._foreach_lerp_(average, parameters, 1e-3)
        return value.item()

    return step


def training(mode):
    means = torch.tensor([[-3.0, -3.0], [0.0, 0.0], [3.0, 3.0]])
    data = lambda: means[torch.randint(3, (BATCH,))] + math.sqrt(0.5) * torch.randn(BATCH, 2)
    loss = torch.compile(objective) if mode == "compiled" else objective
    print("step", seconds(trainer(Perceptron(), loss, data, (BATCH, 2))))


def steering(mode, draws=16, rows=16384, t=0.5):
    """The drift and (σ²/2)∇V of 4,096 states, from 16 posterior draws each, in chunks that suit the caches."""
    network = Perceptron().eval().requires_grad_(False)
    velocity = torch.compile(network, dynamic=False) if mode == "compiled" else network
    zero, x = torch.zeros(1, 1), torch.randn(BATCH, 2)
    chunks = lambda: x.split(rows // draws)

    def reward(x):
        return -((1.2 * x[..., 0] - 0.8 * x[..., 1] + 1) ** 2) / (2 * 0.2**2)

    def posterior(state):
        noise = torch.randn(len(state), draws, 2)
        return noise + velocity(zero, zero + 1, noise, zero + t, state.unsqueeze(1))

    def drift():
        time = torch.full((1,), t)
        return velocity(time, time, x, torch.zeros(1), torch.zeros(1, 2))

    def by_weights():
        def correction(state):
            draw = posterior(state)
            weights = torch.softmax(reward(draw), 1).unsqueeze(2)
            return ((weights - 1 / draws) * draw).sum(1) / (1 - t)

        with torch.no_grad():
            return drift() + torch.cat([correction(state) for state in chunks()])

    def by_gradient():
        def correction(state):
            state = state.requires_grad_()
            value = torch.logsumexp(reward(posterior(state)), 1).sum()
            return torch.autograd.grad(value, state)[0] * (1 - t) / t

        with torch.no_grad():
            base = drift()
        return base + torch.cat([correction(state.detach()) for state in chunks()])

    print("mfm-gf", seconds(by_weights, 2, 8))
    print("mfm-g", seconds(by_gradient, 2, 8))


def draw(mode):
    network = Perceptron().eval()
    velocity = torch.compile(network) if mode == "compiled" else network
    zero, one, t = torch.zeros(1, 1), torch.ones(1, 1), torch.full((1, 1), 0.5)
    state, noise = torch.randn(1, 1, 2), torch.randn(1, 1, 2)
    with torch.no_grad():
        print("draw", seconds(lambda: noise + velocity(zero, one, noise, t, state), 500, 3000))


def transformer(mode, which, batch=128, tokens=16, patch=4):
    mean_flow = which == "mean-flow"
    network = Transformer(patch, hidden=128, depth=6, heads=4, tokens=tokens, features=64, fused=not mean_flow)
    loss = functools.partial(objective, mean_flow=mean_flow)
    if mode == "compiled":
        loss = torch.compile(loss)
    shape = (batch, tokens, patch)
    print("step", seconds(trainer(network, loss, lambda: torch.randn(*shape), shape), 4, 12))
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    part, mode, threads = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    {"training": training, "steering": steering, "draw": draw, "transformer": transformer}[part](mode, *sys.argv[4:])

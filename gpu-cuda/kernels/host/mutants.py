#!/usr/bin/env python3
"""Breaks the kernels on purpose, one place at a time, and checks that the judge notices each.

mutants.py [quick | FILE]   every barrier left out in turn, and faults chosen by hand; `quick`: a barrier or a fault for each subject, in turn
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import build

# (subject that must notice, file, what is there, what is put there instead)
FAULTS = [
    ("elementwise", "space.cuh", "vectors * N + grid_start(); i < space.elements", "vectors * N + grid_start(); i <= space.elements"),
    ("elementwise", "space.cuh", "view.stride[axis] % LANES<T> == 0", "true"),
    ("elementwise", "space.cuh", "if (space.rank >= 2 && space.length[space.rank - 1] % LANES<T> != 0) return 0;", ""),
    ("elementwise", "space.cuh", "offset[k] += coordinate * views[k]->stride[axis]", "offset[k] += coordinate * views[0]->stride[axis]"),
    ("elementwise", "functions.cuh", "3.0f * GELU_CUBE", "2.0f * GELU_CUBE"),
    ("copy", "copy.cu", "column + x < columns", "column + x <= columns"),
    ("copy", "copy.cu", "if (axis == without) continue;", ""),
    ("reduce", "reduce.cu", "first + run < args.length ? first + run : args.length", "first + run"),
    ("reduce", "reduce.cu", "if (j + r >= part.end) continue;", ""),
    ("reduce", "reduce.cu", "void add(float x) { RunningSum::add(x * x); }", "void add(float x) { RunningSum::add(x); }"),
    ("reduce", "functions.cuh", "b > a || b != b ? b : a", "b > a ? b : a"),
    ("index", "index.cu", "p < args.start[coordinate + 1]", "p <= args.start[coordinate + 1]"),
    ("index", "index.cu", "axis == space.rank - 1 ||", ""),
    ("gemm", "gemm.cu", "row + down + i < args.m", "row + down + i <= args.m"),
    ("gemm", "gemm.cu", "k + e < depth", "k + e <= depth"),
    ("gemm", "gemm.cu", "matrix / 2 * 8 + line][d + matrix % 2 * 8]", "matrix % 2 * 8 + line][d + matrix / 2 * 8]"),
    ("norm", "norm.cu", "- h_mean - n * hn_mean", "- h_mean"),
    ("norm", "norm.cu", "lane < count ? (x[lane] - average)", "true ? (x[lane] - average)"),
    ("norm", "norm.cu", "sums[1][h][lane] += g[lane]", "sums[1][h][lane] = g[lane]"),
    ("residual", "residual.cu", "row + r < part.end) store_lanes", "true) store_lanes"),
    ("residual", "warp.cuh", "first + run < group ? first + run : group", "first + run"),
    ("softmax", "warp.cuh", "threadIdx.x; i < width;", "threadIdx.x; i <= width;"),
    ("softmax", "softmax.cu", "if (largest == -infinity()) largest = 0.0f;", ""),
    ("noise", "noise.cu", "i >= 0 && i < args.elements", "i >= 0 && i <= args.elements"),
    ("noise", "noise.cu", "round < 4", "round < 3"),
    ("optimiser", "optimiser.cu", "args.second_decay * second", "args.first_decay * second"),
    ("optimiser", "optimiser.cu", "args.second_rest", "(1.0f - args.second_decay)"),
    ("optimiser", "optimiser.cu", "sum += static_cast<double>(step.parameter);", ""),
    ("optimiser", "optimiser.cu", "store(working + i, step.parameter)", "store(working + i, step.average)"),
    ("attention", "attention.cuh", ">= keys) scores", "> keys) scores"),
    ("attention", "attention.cuh", "fast_exp2(rate * (base[half] - higher))", "1.0f"),
    ("attention", "attention.cu", "tangent[j][e] -= drift[e / 2] * sum[j][e]", "tangent[j][e] -= 0.0f * sum[j][e]"),
    ("attention", "attention_vjp.cu", "(slopes[j][e] - (e % 2 == 0 ? mean.x : mean.y))", "(slopes[j][e])"),
    ("attention", "attention_vjp.cu", "first + part + column_of(j, e) >= keys", "first + part + column_of(j, e) > keys"),
    ("attention", "product.cuh", "if (row >= count) continue;", "if (row > count) continue;"),
]
BARRIER = re.compile(r"__sync(?:threads|warp)\(\);")
# Whose test meets the barriers of the shared headers.
MEETS = {"warp.cuh": "softmax", "product.cuh": "attention", "attention_vjp.cu": "attention"}


def barriers():
    for path in sorted([*build.KERNELS.glob("*.cu"), *build.KERNELS.glob("*.cuh")]):
        for i, place in enumerate(BARRIER.finditer(path.read_text())):
            yield MEETS.get(path.name, path.stem), path.name, place.group(), "", i


def mutate(text, old, new, occurrence):
    place = -1
    for _ in range(occurrence + 1):
        place = text.find(old, place + 1)
        if place < 0:
            return None
    return text[:place] + new + text[place + len(old):]


def first_of_each(mutants):
    chosen = {}
    for mutant in mutants:
        chosen.setdefault(mutant[0], mutant)
    return chosen


def judged(objects, out):
    """Whether the judge finds nothing wrong."""
    build.link(objects, out)
    try:
        return subprocess.run([str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main():
    which = "".join(sys.argv[1:])
    faults = [(*fault, 0) for fault in FAULTS]
    mutants = [*barriers(), *faults]
    if which == "quick":
        kinds = [first_of_each(barriers()), first_of_each(faults)]
        subjects = sorted(kinds[0] | kinds[1])
        mutants = [kinds[i % 2].get(subject) or kinds[(i + 1) % 2][subject] for i, subject in enumerate(subjects)]
    elif which:
        mutants = [mutant for mutant in mutants if mutant[1] == which]
    if not mutants:
        sys.exit(__doc__)
    for _, file, old, new, occurrence in faults:
        if mutate((build.KERNELS / file).read_text(), old, new, occurrence) is None:
            sys.exit(f"mutants.py: {file}: '{old}' is not there any more")
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subjects = sorted({subject for subject, *_ in mutants})
        common = build.compile_all([build.HOST / "machine.cc", build.HOST / "judge" / "judge.cc"], folder, "-O1")
        own = {}
        for subject in subjects:
            tests = build.compile_all([build.HOST / "judge" / f"{subject}.cc"], folder, "-O1", [build.NARROW])
            own[subject] = tests + common
            if which == "quick":
                continue
            # What the judge finds must be the mutant's fault alone; CI judges the kernels as they are beside this.
            whole = build.compile_all(build.sources_of(subject, build.narrow_copy(folder / "kernels")), folder, "-O1", kernels=folder / "kernels")
            if not judged(own[subject] + whole, folder / subject):
                sys.exit(f"mutants.py: the judge finds faults in {subject} as it is")
        for subject, file, old, new, occurrence in mutants:
            what = f"{file}: '{old}' ({occurrence + 1}) -> '{new}'"
            # Narrow, so that a mutant compiles in seconds.
            kernels = build.narrow_copy(folder / "kernels")
            changed = mutate((kernels / file).read_text(), old, new, occurrence)
            if changed is None:
                sys.exit(f"mutants.py: {what}: no such text")
            (kernels / file).write_text(changed)
            objects = build.compile_all(build.sources_of(subject, kernels), folder, "-O1", ["-Wno-unused"], kernels)
            if judged(own[subject] + objects, folder / subject):
                survivors += 1
                print(f"SURVIVED {what}", flush=True)
            else:
                print(f"caught by {subject}: {what}", flush=True)
    print(f"{len(mutants)} mutants, {survivors} survived")
    sys.exit(survivors != 0)


if __name__ == "__main__":
    main()

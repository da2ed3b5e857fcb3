#!/usr/bin/env python3
"""Builds the kernels for the host, with the machine that runs them.

build.py judge OUT [OPTION...] [SUBJECT...]   the program that judges every kernel

A subject is a kernel source without its .cu (and what begins with its name); none means all. CXX chooses the compiler.
--sanitize: with AddressSanitizer and UBSan. --narrow: attention for one width of head of each type alone, which compiles in a tenth of the time.
"""

import concurrent.futures
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HOST = pathlib.Path(__file__).resolve().parent
KERNELS = HOST.parent
COMPILER = os.environ.get("CXX", "g++")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
# A 16-byte access elsewhere than at a multiple of 16 stops the program, as it does on a GPU.
ALIGNMENT = ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
SANITIZERS = ["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def instructions():
    """Multiply-adds as instructions, where this processor has them: kernels are full of them."""
    known = pathlib.Path("/proc/cpuinfo")
    has = platform.machine() == "x86_64" and known.exists() and {"avx2", "fma"} <= set(known.read_text().split())
    return ["-mavx2", "-mfma"] if has else []


INSTRUCTIONS = instructions()

WIDTHS = re.compile(r"(#define ATTENTION_WIDTHS\(of\))(?:[^\n]*\\\n)+[^\n]*\n")
NARROW = "-DATTENTION_NARROW"


def narrow_copy(folder):
    """A copy of the kernels in `folder`, in which attention has one width of each type."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in [*KERNELS.glob("*.cu*"), KERNELS / "abi.h"]:
        shutil.copy(path, folder)
    header = folder / "attention.cuh"
    header.write_text(WIDTHS.sub(r"\1 of(float, f32, 32) of(bf16, bf16, 32)\n", header.read_text()))
    return folder


def subjects():
    return sorted(path.stem for path in (HOST / "judge").glob("*.cc") if path.stem != "judge")


def sources_of(subject, kernels=KERNELS):
    return [path for path in sorted(kernels.glob("*.cu")) if path.stem == subject or path.stem.startswith(subject + "_")]


def compile_one(source, out, optimise, extra=(), kernels=KERNELS):
    """Compiles a kernel source or a C++ one, with the headers of the folder `kernels`."""
    words = [COMPILER, "-std=c++17", *WARNINGS, *([] if SANITIZERS[1] in extra else ALIGNMENT), "-fno-strict-aliasing", *INSTRUCTIONS, optimise, *extra, "-I", str(kernels), "-I", str(HOST)]
    if source.suffix == ".cu":
        words += ["-include", "emulator.hpp", "-x", "c++"]
    subprocess.run([*words, "-c", str(source), "-o", str(out)], check=True)
    return out


def compile_all(sources, folder, optimise, extra=(), kernels=KERNELS):
    outs = [pathlib.Path(folder) / f"{source.parent.name}.{source.name}.o" for source in sources]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda pair: compile_one(pair[0], pair[1], optimise, extra, kernels), zip(sources, outs)))


def link(objects, out, extra=()):
    subprocess.run([COMPILER, *extra, *map(str, objects), "-o", str(out)], check=True)


def main():
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    options = set(sys.argv[1:]) - set(words)
    if len(words) < 2 or words[0] != "judge" or options - {"--sanitize", "--narrow"}:
        sys.exit(__doc__)
    out, chosen = words[1], words[2:] or subjects()
    extra, optimise = (SANITIZERS, "-O1") if "--sanitize" in options else ([], "-O2")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        kernels, narrow = (narrow_copy(folder / "kernels"), [NARROW]) if "--narrow" in options else (KERNELS, [])
        sources = [source for subject in chosen for source in sources_of(subject, kernels)] + [HOST / "machine.cc"]
        sources += [HOST / "judge" / f"{name}.cc" for name in ["judge", *chosen]]
        # The longest first.
        sources.sort(key=lambda source: "attention" not in source.name)
        try:
            objects = compile_all(sources, folder, optimise, [*extra, *narrow], kernels)
            link(objects, out, extra)
        except subprocess.CalledProcessError as error:
            sys.exit(f"build.py: {error}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compiles the kernels by NVRTC: PTX for compute_80 and a cubin for sm_90, without a GPU.

compile.py check   compiles all, fails at a spill to local memory, and at a difference from what is in compiled/
compile.py write [SUBJECT...]   the same, and writes compiled/, or what these subjects put there

NVRTC is taken from MFM_NVRTC (the folder of libnvrtc.so.13), or from the Python package nvidia-cuda-nvrtc:
    pip install nvidia-cuda-nvrtc==13.0.88
13.0, since a driver of that time rejects newer PTX.
"""

import ctypes
import gzip
import hashlib
import importlib.util
import multiprocessing
import os
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
COMPILED = HERE / "compiled"
TARGETS = {"sm_80.ptx": "compute_80", "sm_90.cubin": "sm_90"}
# Kernels that may use a stack: the reduction of large arguments of sin and cos in CUDA's own library does.
STACK = {"unary_f32", "unary_bf16"}


def sources():
    return sorted([*HERE.glob("*.cu"), *HERE.glob("*.cuh"), HERE / "abi.h"], key=lambda path: path.name)


def source_hash():
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def nvrtc():
    folder = os.environ.get("MFM_NVRTC")
    if folder is None:
        package = importlib.util.find_spec("nvidia")
        found = [path for root in (package.submodule_search_locations if package else []) for path in pathlib.Path(root).glob("*/lib/libnvrtc.so.13")]
        if not found:
            sys.exit("compile.py: NVRTC is not found; pip install nvidia-cuda-nvrtc==13.0.88, or set MFM_NVRTC to the folder of libnvrtc.so.13")
        folder = found[0].parent
    # NVRTC looks for this one by name, so it must be there before.
    for name in pathlib.Path(folder).glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(name), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(pathlib.Path(folder) / "libnvrtc.so.13"))


def compile_one(job):
    """One subject for one target: (the compiled bytes, [(kernel, registers, spilled bytes, stack, shared)])."""
    subject, target = job
    library = nvrtc()
    program = ctypes.c_void_p()
    headers = [path for path in sources() if path.suffix != ".cu"]
    texts = (ctypes.c_char_p * len(headers))(*[path.read_bytes() for path in headers])
    names = (ctypes.c_char_p * len(headers))(*[path.name.encode() for path in headers])
    source = (HERE / f"{subject}.cu").read_bytes()
    code = library.nvrtcCreateProgram(ctypes.byref(program), source, f"{subject}.cu".encode(), len(headers), texts, names)
    words = [f"--gpu-architecture={TARGETS[target]}", "--std=c++17", "--ptxas-options=-v"]
    options = (ctypes.c_char_p * len(words))(*[word.encode() for word in words])
    code = code or library.nvrtcCompileProgram(program, len(words), options)

    def fetch(what):
        size = ctypes.c_size_t()
        if getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)):
            return b""
        buffer = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    log = fetch("ProgramLog").rstrip(b"\0").decode()
    if code:
        sys.exit(f"compile.py: {subject}.cu for {target}: NVRTC error {code}\n{log}")
    report = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores.*?Used (\d+) registers(?:[^\n]*?(\d+) bytes smem)?", log, re.S)
    kernels = [(name, int(registers), int(spill), int(stack), int(shared or 0)) for name, stack, spill, registers, shared in report]
    return fetch("PTX" if target.endswith("ptx") else "CUBIN"), kernels


def main():
    action, subjects = "".join(sys.argv[1:2]), sys.argv[2:]
    if action not in ("check", "write") or (subjects and action != "write"):
        sys.exit(__doc__)
    recorded = (COMPILED / "HASH").read_text().strip() if (COMPILED / "HASH").exists() else "none"
    if action != "write" and recorded != source_hash():
        sys.exit("compile.py: compiled/ is not of these sources; run compile.py write")
    # The longest first.
    jobs = [(path.stem, target) for path in sorted(HERE.glob("*.cu"), key=lambda path: "attention" not in path.stem) for target in reversed(TARGETS)]
    jobs = [job for job in jobs if not subjects or job[0] in subjects]
    with multiprocessing.Pool() as pool:
        results = pool.map(compile_one, jobs, chunksize=1)
    faults = []
    total = 0
    if action == "write":
        COMPILED.mkdir(exist_ok=True)
        for old in COMPILED.iterdir() if not subjects else []:
            old.unlink()
    for (subject, target), (binary, kernels) in zip(jobs, results):
        for name, registers, spill, stack, shared in kernels:
            total += 1
            print(f"{name}: {registers} registers, {shared} bytes of shared memory, {spill} bytes spilled" + (f", stack of {stack} bytes" if stack else ""))
            if spill or (stack and name not in STACK):
                faults.append(f"{name} spills {spill} bytes and has a stack of {stack} bytes")
        if target.endswith("cubin") and not kernels:
            faults.append(f"{subject}: the compiler reports no kernels")
        path = COMPILED / f"{subject}.{target}.gz"
        if action == "write":
            path.write_bytes(gzip.compress(binary, 9, mtime=0))
        elif not path.exists() or gzip.decompress(path.read_bytes()) != binary:
            faults.append(f"{path.name} is not what the compiler makes of {subject}.cu")
    if action == "write":
        (COMPILED / "HASH").write_text(source_hash() + "\n")
    print(f"{total} kernels, {len(faults)} faults")
    if faults:
        sys.exit("compile.py: " + "; ".join(faults))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""One posterior draw for each of 1, 16 and 256 states: C++ beside Rust, and beside ONNX Runtime, on the same threads, in one run.

    run.py BUILD [THREADS]

BUILD is a build folder of ffi/ with -DMFM_BENCHMARKS=ON. Needs cargo; numpy, onnx and onnxruntime, without which only Rust is compared with.
The programs alternate; each figure is the median of its best round, so that what else the machine does disturbs a round, not the ratio. Prints ratios; asserts
nothing.
"""

import pathlib
import subprocess
import sys
import tempfile

ROUNDS = 9


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def main():
    here = pathlib.Path(__file__).resolve().parent
    ours = pathlib.Path(sys.argv[1]).resolve() / "bench" / "bench_posterior"
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder = pathlib.Path(tempfile.mkdtemp())
    model, exported, library = folder / "model.mfm", "-", "-"
    run(ours, model)
    try:
        import onnxruntime

        library = next((pathlib.Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
        exported = folder / "model.onnx"
        run(sys.executable, here / "export_onnx.py", model, exported)
        print(f"ONNX Runtime {onnxruntime.__version__}, {threads} thread(s)")
    except ImportError as missing:
        print(f"ONNX Runtime is not measured: {missing}")
    rust = ["cargo", "run", "--quiet", "--release", "--manifest-path", here.parent / "Cargo.toml", "--example", "posterior", "--", model, threads]
    run(*rust)
    seconds, differences = {}, {}
    for _ in range(ROUNDS):
        programs = [rust, [ours, model, threads]] + ([] if exported == "-" else [[ours, model, threads, exported, library]])
        for output in [run(*program) for program in programs]:
            for line in output.splitlines():
                who, n, value = line.split()
                (differences if who == "difference" else seconds).setdefault((who, int(n)), []).append(float(value))
    for n in [1, 16, 256]:
        cpp, rust_time = (min(seconds[who, n]) for who in ["C++", "Rust"])
        text = f"batch {n}: C++ {1e6 * cpp:.2f} us; Rust {1e6 * rust_time:.2f} us, C++/Rust {cpp / rust_time:.3f}"
        if ("ONNX", n) in seconds:
            onnx = min(seconds["ONNX", n])
            text += f"; ONNX Runtime {1e6 * onnx:.2f} us, {onnx / cpp:.2f} x as fast; largest difference {max(differences['difference', n]):.1g}"
        print(text)


main()

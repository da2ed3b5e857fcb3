#!/usr/bin/env python3
"""Exports the one-step posterior draw of a bare mfm MLP to ONNX: X(noise; t, state) = noise + v_{0,1}(noise; t, state).

    export_onnx.py MODEL.mfm OUT.onnx

The graph takes `noise` and `state`, [n, d], and `t`, [1], and gives `draw`, [n, d]. As in the library, what all rows share (the features of
the times) is computed once, and the first layer is split by input. Needs cargo, numpy and onnx.
"""

import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tensors(path):
    """The tensors of a model file by name, where the command `mfm` says that they lie."""
    manifest = pathlib.Path(__file__).resolve().parents[2] / "Cargo.toml"
    command = ["cargo", "run", "--quiet", "--release", "--manifest-path", manifest, "-p", "mfm-cli", "--", "info", path, "--quiet", "--json", "-"]
    described = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    data, found = pathlib.Path(path).read_bytes(), {}
    for tensor in described["tensors"]:
        name, shape = tensor["name"], tensor["shape"]
        assert tensor["bytes"] == 4 * math.prod(shape), f"{name} is not stored as float32"
        found[name] = np.frombuffer(data, "<f4", math.prod(shape), tensor["offset"]).reshape(shape)
    return found


def main():
    source, target = sys.argv[1:]
    weights = tensors(source)
    data = weights["output.weight"].shape[0]
    features = weights["first.weight"].shape[1] - 2 * data
    count = (features - 3) // 6
    constants, nodes = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    # [s, u, t] = [0, 1, t]; sines and cosines in the library's order.
    z = node("Concat", [constant("zero_one", np.array([0, 1], np.float32)), "t"], "z", axis=0)
    column = node("Reshape", [z, constant("column", np.array([3, 1], np.int64))], "z_column")
    angles = node("Mul", [column, constant("frequencies", np.pi * np.arange(1, count + 1, dtype=np.float32)[None])], "angles")
    flat = node("Reshape", [angles, constant("flat", np.array([3 * count], np.int64))], "angles_flat")
    row = node("Concat", [z, node("Sin", [flat], "sines"), node("Cos", [flat], "cosines")], "features", axis=0)
    row = node("Reshape", [row, constant("row", np.array([1, features], np.int64))], "features_row")

    first = weights["first.weight"]
    shared = node("Gemm", [row, constant("first_times", first[:, :features].T), constant("first_bias", weights["first.bias"])], "shared")
    both = node("Concat", ["noise", "state"], "both", axis=1)
    own = node("MatMul", [both, constant("first_own", first[:, features:].T)], "own")
    h = node("Add", [own, shared], "h0")
    for i in range(4):
        if i > 0:
            h = node("Gemm", [h, constant(f"w{i}", weights[f"hidden.{i}.weight"].T), constant(f"b{i}", weights[f"hidden.{i}.bias"])], f"h{i}")
        h = node("Mul", [h, node("Sigmoid", [h], f"gate{i}")], f"act{i}")
    v = node("Gemm", [h, constant("w_out", weights["output.weight"].T), constant("b_out", weights["output.bias"])], "velocity")
    node("Add", ["noise", v], "draw")

    rows = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", data])
    graph = helper.make_graph(
        nodes, "posterior", [rows("noise"), rows("state"), helper.make_tensor_value_info("t", TensorProto.FLOAT, [1])], [rows("draw")], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, target)


main()

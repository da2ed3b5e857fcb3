#!/usr/bin/env python3
"""Exports the one-step posterior draw of a bare mfm MLP to ONNX: X(noise; t, state) = noise + v_{0,1}(noise; t, state).

    export_onnx.py MODEL.mfm OUT.onnx

The graph takes `noise` and `state`, [n, d], and `t`, [1], and gives `draw`, [n, d]. As in the library, what all rows share (the features of
the times) is computed once, and the first layer is split by input. Needs numpy and onnx.
"""

import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tensors(data):
    """The tensors of a model file by name, found through the table that ends its header."""
    assert data[:8] == b"MFMMODEL", "no model file"
    header_length = struct.unpack_from("<I", data, 12)[0]
    header = data[32 : 32 + header_length]
    found = {}
    for layer in ["first", "hidden.1", "hidden.2", "hidden.3", "output"]:
        for part in ["weight", "bias"]:
            name = f"{layer}.{part}".encode()
            at = header.index(bytes([len(name)]) + name) + 1 + len(name)

            def varint():
                nonlocal at
                value = shift = 0
                while True:
                    byte = header[at]
                    at += 1
                    value |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        return value

            rank = header[at]
            at += 1
            axes = [varint() for _ in range(6)][:rank]
            precision, offset, length = varint(), varint(), varint()
            assert precision == 0, f"{name} is not stored as float32"
            found[name.decode()] = np.frombuffer(data[offset : offset + length], "<f4").reshape(axes)
    return found


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as file:
        weights = tensors(file.read())
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

# SPDX-License-Identifier: Apache-2.0
"""OpenCV's DNN module: LeNet as a Caffe model and as the equal TensorFlow graph, on OpenCL.

Both models are written here from seeded weights (the messages' fields are those of caffe.proto and
graph.proto), and a forward pass in float64 says what is right. OpenCV falls back silently to the
processor, so araxd is asked which kernels ran.
"""

import json
import os
import sys
import tempfile

from harness import POCL, PYTHON, check, check_launched, need, ok

ERROR = 1e-4  # allowed against float64
BATCH = 4
CAFFE = """name: "lenet"
input: "data"
input_shape { dim: 4 dim: 1 dim: 28 dim: 28 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 20 kernel_size: 5 stride: 1 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 50 kernel_size: 5 stride: 1 } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1"
  inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }
"""
SHAPES = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "ip1": (500, 800), "ip2": (10, 500)}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def chunk(field, value):
    """A length-delimited field: bytes, text, a message."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def floats(array):
    return array.astype("<f4").tobytes()


def seeded(np):
    """The weights, the biases and the input."""
    rng = np.random.default_rng(20)
    weights = {}
    for name, shape in SHAPES.items():
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        weights[name] = ((rng.standard_normal(shape) * scale).astype(np.float32),
                         (rng.standard_normal(shape[0]) * 0.1).astype(np.float32))
    return weights, rng.random((BATCH, 1, 28, 28)).astype(np.float32)


def caffe_model(weights):
    def blob(array):
        return chunk(7, chunk(7, chunk(1, b"".join(varint(each) for each in array.shape))) +
                     chunk(5, floats(array)))
    kinds = {"conv1": "Convolution", "conv2": "Convolution", "ip1": "InnerProduct", "ip2": "InnerProduct"}
    layers = (chunk(100, chunk(1, name) + chunk(2, kinds[name]) + blob(weight) + blob(bias))
              for name, (weight, bias) in weights.items())
    return chunk(1, "lenet") + b"".join(layers)


def tensorflow_graph(np, weights):
    FLOAT, INT32 = 1, 3

    def attribute(name, value):
        return chunk(5, chunk(1, name) + chunk(2, value))

    def node(name, op, inputs=(), **attributes):
        return chunk(1, chunk(1, name) + chunk(2, op) + b"".join(chunk(3, each) for each in inputs) +
                     b"".join(attribute(key, value) for key, value in attributes.items()))

    def constant(name, array):
        kind = INT32 if array.dtype == np.int32 else FLOAT
        shape = b"".join(chunk(2, number(1, each)) for each in array.shape)
        return node(name, "Const", dtype=number(6, kind),
                    value=chunk(8, number(1, kind) + chunk(2, shape) + chunk(4, array.tobytes())))

    def integers(*values):
        return chunk(1, chunk(3, b"".join(varint(each) for each in values)))

    def convolution(name, source):
        weight, bias = weights[name]
        return (constant(f"{name}/w", np.ascontiguousarray(weight.transpose(2, 3, 1, 0))) +
                constant(f"{name}/b", bias) +
                node(f"{name}/conv", "Conv2D", (source, f"{name}/w"), T=number(6, FLOAT),
                     strides=integers(1, 1, 1, 1), padding=chunk(2, "VALID"), data_format=chunk(2, "NHWC")) +
                node(name, "BiasAdd", (f"{name}/conv", f"{name}/b"), T=number(6, FLOAT),
                     data_format=chunk(2, "NHWC")))

    def pooling(name, source):
        return node(name, "MaxPool", (source,), T=number(6, FLOAT), ksize=integers(1, 2, 2, 1),
                    strides=integers(1, 2, 2, 1), padding=chunk(2, "VALID"), data_format=chunk(2, "NHWC"))

    def product(name, source, weight):
        return (constant(f"{name}/w", np.ascontiguousarray(weight.T)) + constant(f"{name}/b", weights[name][1]) +
                node(f"{name}/mul", "MatMul", (source, f"{name}/w"), T=number(6, FLOAT),
                     transpose_a=number(5, 0), transpose_b=number(5, 0)) +
                node(name, "BiasAdd", (f"{name}/mul", f"{name}/b"), T=number(6, FLOAT)))

    # TensorFlow flattens height, width, channel; Caffe channel, height, width.
    turned = weights["ip1"][0].reshape(500, 50, 4, 4).transpose(0, 2, 3, 1).reshape(500, 800)
    shape = b"".join(chunk(2, number(1, each)) for each in (BATCH, 28, 28, 1))
    return (node("data", "Placeholder", dtype=number(6, FLOAT), shape=chunk(7, shape)) +
            convolution("conv1", "data") + pooling("pool1", "conv1") +
            convolution("conv2", "pool1") + pooling("pool2", "conv2") +
            constant("flat/shape", np.array([BATCH, 800], dtype=np.int32)) +
            node("flat", "Reshape", ("pool2", "flat/shape"), T=number(6, FLOAT), Tshape=number(6, INT32)) +
            product("ip1", "flat", turned) + node("relu1", "Relu", ("ip1",), T=number(6, FLOAT)) +
            product("ip2", "relu1", weights["ip2"][0]) + node("prob", "Softmax", ("ip2",), T=number(6, FLOAT)))


def reference(np, weights, data):
    """The forward pass in float64."""
    def convolution(name, x):
        weight, bias = (each.astype(np.float64) for each in weights[name])
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]

    def pooling(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))

    def product(name, x):
        weight, bias = (each.astype(np.float64) for each in weights[name])
        return x @ weight.T + bias

    x = pooling(convolution("conv1", data.astype(np.float64)))
    x = pooling(convolution("conv2", x)).reshape(len(data), -1)
    x = product("ip2", np.maximum(product("ip1", x), 0))
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def compute(directory, path):
    """In a process of its own: both models on OpenCL; each output's error and bytes go to a file."""
    import cv2
    import numpy as np
    weights, data = seeded(np)
    with open(f"{directory}/lenet.prototxt", "w", encoding="ascii") as file:
        file.write(CAFFE)
    for name, content in (("caffemodel", caffe_model(weights)), ("pb", tensorflow_graph(np, weights))):
        with open(f"{directory}/lenet.{name}", "wb") as file:
            file.write(content)
    models = {"caffe": cv2.dnn.readNetFromCaffe(f"{directory}/lenet.prototxt", f"{directory}/lenet.caffemodel"),
              "tensorflow": cv2.dnn.readNetFromTensorflow(f"{directory}/lenet.pb")}
    print(f"device {cv2.ocl.Device.getDefault().name() if cv2.ocl.useOpenCL() else 'none'}")
    right, out = reference(np, weights, data), {}
    for name, net in models.items():
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        net.setPreferableTarget(cv2.dnn.DNN_TARGET_OPENCL)
        for again in ("", " again"):  # the second time everything is there already
            net.setInput(data)
            result = net.forward().reshape(BATCH, 10)
            out[name + again] = (float(np.abs(result - right).max()), result.tobytes().hex())
    with open(path, "w", encoding="ascii") as file:
        json.dump(out, file)


def test_dnn():
    need("python3: cv2", "python3: numpy", POCL)
    results = {}
    with tempfile.TemporaryDirectory(prefix="arax-dnn-") as directory:
        for side, kind in (("native", "CPU"), ("Arax", "GPU")):
            path = os.path.join(directory, f"{side}.json")
            run = ok([PYTHON, os.path.abspath(__file__), directory, path], native=side == "native", seconds=600,
                     OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES="1", OPENCV_OPENCL_DEVICE=f":{kind}:",
                     PYTHONDONTWRITEBYTECODE="1")
            check("device none" not in run.out, f"{side}: OpenCV found no OpenCL", run.err[-2000:])
            with open(path, encoding="ascii") as file:
                results[side] = json.load(file)
            worst = max(error for error, _ in results[side].values())
            check(worst <= ERROR, f"{side}: {worst} away from float64", str(results[side]))
    check(results["Arax"] == results["native"], "not equal to native", str(results["native"]), str(results["Arax"]))
    # Convolutions, pooling, activation, softmax and the other layout: each model on OpenCL.
    count = check_launched(run, ".*_k5x5_cn1_.*", ".*_k5x5_cn20_.*", "max_pool_.*", "ReLU.*",
                           "kernel_channel_(max|subtract|sum|div)", "permute")
    print(f"{' '.join(results['Arax'])}: equal to native, at most {worst:.1e} from float64; {count} launches on Arax")


if __name__ == "__main__":
    compute(*sys.argv[1:])

# SPDX-License-Identifier: Apache-2.0
"""OpenCV's transparent API: the same function on a UMat (OpenCL) and on an array (the processor).

A function's two results must agree within what is written beside it, which is what OpenCV's own
tests allow or less; and on Arax it must be what it is on native PoCL.
"""

import hashlib
import json
import os
import sys
import tempfile

from harness import POCL, PYTHON, check, check_launched, launches, need, ok

# Worst difference between OpenCL and the processor: one of 255, or relative to the largest value.
EXACT, ROUNDED, FLOAT, TEMPLATE = 0.0, 1.0, 1e-5, 1e-3
# One or two of each kind; each is a program more that both sides compile.
QUICK = ("blur", "medianBlur", "filter2D", "erode", "resize", "warpAffine", "remap", "flip", "BGR2GRAY", "LUT",
         "calcHist", "add", "multiply", "exp", "sum", "minMaxLoc", "integral")


def inputs(cv2, np):
    rng = np.random.default_rng(5)
    color = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (321, 243), interpolation=cv2.INTER_CUBIC)
    return {"color": color, "other": np.ascontiguousarray(color[::-1, ::-1]),
            "gray": cv2.cvtColor(color, cv2.COLOR_BGR2GRAY), "real": rng.random((243, 321)).astype(np.float32),
            "more": (rng.random((243, 321)) + 0.5).astype(np.float32),
            "a": rng.random((90, 110)).astype(np.float32), "b": rng.random((110, 70)).astype(np.float32),
            "complex": rng.random((120, 90, 2)).astype(np.float32),
            "patch": np.ascontiguousarray(color[60:76, 80:104])}


def functions(cv2, np):
    """Name -> allowed difference, function of the inputs."""
    kernel = np.ones((5, 3), np.uint8)
    weights = np.array([[1, 2, 1], [0, 3, 0], [-1, -2, -1]], np.float32) / 7
    turn = np.array([[0.9, -0.3, 40], [0.25, 1.1, -20]], np.float32)
    tilt = np.array([[0.9, -0.1, 20], [0.1, 1.1, -20], [0.0005, 0.0002, 1]], np.float32)
    table = ((np.arange(256) * 7 + 13) % 256).astype(np.uint8)
    columns, rows = np.meshgrid(np.arange(321, dtype=np.float32), np.arange(243, dtype=np.float32))
    bent = (columns + 5 * np.sin(rows / 9), rows + 4 * np.cos(columns / 7))
    nearest = [np.round(each).astype(np.float32) for each in bent]
    clahe = cv2.createCLAHE(3.0, (8, 8))
    return {
        # filters
        "blur": (ROUNDED, lambda x: cv2.blur(x["color"], (5, 5))),
        "boxFilter": (FLOAT, lambda x: cv2.boxFilter(x["real"], -1, (7, 3))),
        "GaussianBlur": (ROUNDED, lambda x: cv2.GaussianBlur(x["color"], (7, 7), 1.8)),
        "medianBlur": (EXACT, lambda x: cv2.medianBlur(x["color"], 5)),
        "bilateralFilter": (ROUNDED, lambda x: cv2.bilateralFilter(x["gray"], 7, 30, 5)),
        "filter2D": (FLOAT, lambda x: cv2.filter2D(x["real"], -1, weights)),
        "sepFilter2D": (FLOAT, lambda x: cv2.sepFilter2D(x["real"], -1, weights[0], weights[1] + 1)),
        "Sobel": (EXACT, lambda x: cv2.Sobel(x["gray"], cv2.CV_16S, 1, 0)),
        "Scharr": (EXACT, lambda x: cv2.Scharr(x["gray"], cv2.CV_16S, 0, 1)),
        "Laplacian": (EXACT, lambda x: cv2.Laplacian(x["gray"], cv2.CV_16S, ksize=3)),
        "erode": (EXACT, lambda x: cv2.erode(x["color"], kernel)),
        "dilate": (EXACT, lambda x: cv2.dilate(x["gray"], kernel)),
        "morphologyEx": (EXACT, lambda x: cv2.morphologyEx(x["gray"], cv2.MORPH_GRADIENT, kernel)),
        "Canny": (EXACT, lambda x: cv2.Canny(x["gray"], 40, 120)),
        "cornerHarris": (FLOAT, lambda x: cv2.cornerHarris(x["gray"], 3, 3, 0.04)),
        "pyrDown": (ROUNDED, lambda x: cv2.pyrDown(x["color"])),
        "pyrUp": (ROUNDED, lambda x: cv2.pyrUp(x["gray"])),
        # geometry
        "resize": (ROUNDED, lambda x: cv2.resize(x["color"], (500, 111))),
        "resize area": (ROUNDED, lambda x: cv2.resize(x["color"], (107, 81), interpolation=cv2.INTER_AREA)),
        "resize nearest": (EXACT, lambda x: cv2.resize(x["gray"], (642, 486), interpolation=cv2.INTER_NEAREST)),
        "warpAffine": (ROUNDED, lambda x: cv2.warpAffine(x["color"], turn, (300, 200))),
        "warpPerspective": (ROUNDED, lambda x: cv2.warpPerspective(x["color"], tilt, (300, 200))),
        "remap": (EXACT, lambda x: cv2.remap(x["color"], *nearest, cv2.INTER_NEAREST)),
        "transpose": (EXACT, lambda x: cv2.transpose(x["color"])),
        "flip": (EXACT, lambda x: cv2.flip(x["color"], -1)),
        "copyMakeBorder": (EXACT, lambda x: cv2.copyMakeBorder(x["gray"], 3, 4, 5, 6, cv2.BORDER_REFLECT_101)),
        "repeat": (EXACT, lambda x: cv2.repeat(x["gray"], 2, 3)),
        # colours and histograms
        "BGR2GRAY": (ROUNDED, lambda x: cv2.cvtColor(x["color"], cv2.COLOR_BGR2GRAY)),
        "BGR2HSV": (ROUNDED, lambda x: cv2.cvtColor(x["color"], cv2.COLOR_BGR2HSV)),
        "BGR2YCrCb": (ROUNDED, lambda x: cv2.cvtColor(x["color"], cv2.COLOR_BGR2YCrCb)),
        "BGR2Lab": (ROUNDED, lambda x: cv2.cvtColor(x["color"], cv2.COLOR_BGR2Lab)),
        "threshold": (EXACT, lambda x: cv2.threshold(x["gray"], 100, 255, cv2.THRESH_BINARY)[1]),
        "inRange": (EXACT, lambda x: cv2.inRange(x["color"], (50, 60, 70), (180, 190, 200))),
        "LUT": (EXACT, lambda x: cv2.LUT(x["color"], table)),
        "calcHist": (EXACT, lambda x: cv2.calcHist([x["gray"]], [0], None, [256], [0, 256])),
        "equalizeHist": (ROUNDED, lambda x: cv2.equalizeHist(x["gray"])),
        "CLAHE": (ROUNDED, lambda x: clahe.apply(x["gray"])),
        # arithmetic
        "add": (EXACT, lambda x: cv2.add(x["color"], x["other"])),
        "absdiff": (EXACT, lambda x: cv2.absdiff(x["color"], x["other"])),
        "multiply": (FLOAT, lambda x: cv2.multiply(x["real"], x["more"], scale=1.5)),
        "divide": (FLOAT, lambda x: cv2.divide(x["real"], x["more"])),
        "addWeighted": (ROUNDED, lambda x: cv2.addWeighted(x["color"], 0.3, x["other"], 0.6, 7)),
        "bitwise_xor": (EXACT, lambda x: cv2.bitwise_xor(x["color"], x["other"])),
        "compare": (EXACT, lambda x: cv2.compare(x["real"], x["more"], cv2.CMP_GT)),
        "exp": (FLOAT, lambda x: cv2.exp(x["real"])),
        "log": (FLOAT, lambda x: cv2.log(x["more"])),
        "pow": (FLOAT, lambda x: cv2.pow(x["more"], 2.5)),
        "magnitude": (FLOAT, lambda x: cv2.magnitude(x["real"], x["more"])),
        "merge": (EXACT, lambda x: cv2.merge([x["gray"], x["gray"], x["gray"]])),
        "split": (EXACT, lambda x: cv2.split(x["color"])[1]),
        "convertScaleAbs": (ROUNDED, lambda x: cv2.convertScaleAbs(x["real"], alpha=-200, beta=30)),
        "normalize": (ROUNDED, lambda x: cv2.normalize(x["gray"], None, 10, 200, cv2.NORM_MINMAX)),
        # reductions and transforms
        "sum": (EXACT, lambda x: cv2.sumElems(x["color"])),
        "meanStdDev": (FLOAT, lambda x: np.ravel([fetched(each) for each in cv2.meanStdDev(x["gray"])])),
        "norm": (FLOAT, lambda x: cv2.norm(x["real"], cv2.NORM_L2)),
        "minMaxLoc": (FLOAT, lambda x: np.hstack(cv2.minMaxLoc(x["real"]))),
        "countNonZero": (EXACT, lambda x: cv2.countNonZero(x["gray"])),
        "reduce": (EXACT, lambda x: cv2.reduce(x["gray"], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)),
        "integral": (EXACT, lambda x: cv2.integral(x["gray"])),
        "gemm": (FLOAT, lambda x: cv2.gemm(x["a"], x["b"], 1.2, None, 0)),
        "dft": (FLOAT, lambda x: cv2.dft(x["complex"])),
        "matchTemplate": (TEMPLATE, lambda x: cv2.matchTemplate(x["color"], x["patch"], cv2.TM_SQDIFF_NORMED)),
    }


def fetched(value):
    return value.get() if hasattr(value, "get") else value


def compute(path, *names):
    """In a process of its own: each function on both sides; the difference and OpenCL's bytes go to a file."""
    import cv2
    import numpy as np
    print(f"device {cv2.ocl.Device.getDefault().name() if cv2.ocl.useOpenCL() else 'none'}")
    arrays, out = inputs(cv2, np), {}
    matrices = {name: cv2.UMat(each) for name, each in arrays.items()}
    for name, (_, function) in functions(cv2, np).items():
        if names and name not in names:
            continue
        cv2.ocl.setUseOpenCL(True)
        mine = np.asarray(fetched(function(matrices)))
        cv2.ocl.setUseOpenCL(False)
        host = np.asarray(function(arrays))
        difference = np.abs(mine.astype(np.float64) - host).max() if mine.shape == host.shape else np.inf
        if host.dtype.kind == "f":
            difference /= np.abs(host).max()
        out[name] = (float(difference), hashlib.sha256(mine.tobytes()).hexdigest())
    out["allowed"] = {name: allowed for name, (allowed, _) in functions(cv2, np).items()}
    with open(path, "w", encoding="ascii") as file:
        json.dump(out, file)


def compare(names, launched):
    need("python3: cv2", "python3: numpy", POCL)
    results = {}
    with tempfile.TemporaryDirectory(prefix="arax-umat-") as directory:
        for side, kind in (("native", "CPU"), ("Arax", "GPU")):
            path = os.path.join(directory, side)
            run = ok([PYTHON, os.path.abspath(__file__), path, *names], native=side == "native", seconds=1200,
                     OPENCV_OPENCL_DEVICE=f":{kind}:", PYTHONDONTWRITEBYTECODE="1")
            check("device none" not in run.out, f"{side}: OpenCV found no OpenCL", run.err[-2000:])
            with open(path, encoding="ascii") as file:
                results[side] = json.load(file)
            allowed = results[side].pop("allowed")
            far = [f"{name}: {difference}, allowed {allowed[name]}"
                   for name, (difference, _) in results[side].items() if not difference <= allowed[name]]
            check(not far, f"{side}: OpenCL and processor differ", *far, run.err[-2000:])
    other = [name for name, result in results["Arax"].items() if result != results["native"][name]]
    check(not other, "not equal to native", *other)
    print(f"{len(results['Arax'])} functions equal native's and the processor's; "
          f"{check_launched(run, *launched)} launches on Arax of {len(launches(run))} kernels")


def test_umat():
    compare(QUICK, ("medianFilter.*", "resize.*", "warpAffine", "KF", "LUT", "calculate_histogram"))


def test_umat_all():
    compare((), ("medianFilter.*", "resize.*", "warpAffine", "KF", "LUT", "calculate_histogram", "fft_.*"))


if __name__ == "__main__":
    compute(*sys.argv[1:])

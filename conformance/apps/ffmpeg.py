# SPDX-License-Identifier: Apache-2.0
"""ffmpeg's OpenCL filters (images): every frame is the one of native PoCL."""

import re

from harness import POCL, Skip, check, launches, need, start

# The format that goes up, the filters, the format that comes down.
FILTERS = {
    "chain": ("yuv420p", "unsharp_opencl=lx=5:ly=5:la=1.5,avgblur_opencl=3,transpose_opencl=dir=clock", "yuv420p"),
    "edges": ("yuv420p", "sobel_opencl,prewitt_opencl,roberts_opencl", "yuv420p"),
    "shapes": ("yuv420p", "erosion_opencl,dilation_opencl,boxblur_opencl=3:2", "yuv420p"),
    "convolution": ("bgra", "convolution_opencl=0 -1 0 -1 5 -1 0 -1 0", "bgra"),
    "padding": ("yuv420p", "pad_opencl=400:300:40:30", "yuv420p"),
    "denoise": ("yuv420p", "nlmeans_opencl=s=3:p=5:r=7", "yuv420p"),
    "key": ("bgra", "colorkey_opencl=0xff0000:0.4:0.1", "bgra"),
}


def frames(filters, native):
    up, graph, down = FILTERS[filters]
    run = start(["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "verbose", "-init_hw_device", "opencl=ocl:0.0",
                 "-filter_hw_device", "ocl", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=5:d=1", "-vf",
                 f"format={up},hwupload,{graph},hwdownload,format={down}", "-f", "framemd5", "-"], native=native)
    if native and run.status != 0:
        raise Skip(f"this ffmpeg has no {graph} that runs on PoCL\n{run.err[-2000:]}")
    side, platform = ("native", "Portable Computing Language") if native else ("Arax", "Arax")
    check(run.status == 0, f"{side}: {graph}: exit status {run.status}", run.err[-3000:])
    check(f"{platform} / " in run.err or f": {platform}" in run.err, f"{side}: not on {platform}", run.err[-3000:])
    found = [line for line in run.out.split("\n") if line and not line.startswith("#")]
    check(len(found) == 5, f"{side}: {graph}: {len(found)} frames, not 5", run.out, run.err[-3000:])
    return found, run


def compare(filters):
    native, _ = frames(filters, True)
    arax, run = frames(filters, False)
    check(arax == native, f"{filters}: the frames differ", *native, *arax)
    counts = launches(run)
    # A kernel of each filter; their names begin as the filters' do, in some order of words.
    check(len(counts) >= len(re.findall("_opencl", FILTERS[filters][1])), f"{filters}: only {counts} ran on Arax")
    print(f"{filters}: 5 frames equal native PoCL's; {sum(counts.values())} launches on Arax of {' '.join(sorted(counts))}")


def test_ffmpeg():
    need("ffmpeg", POCL)
    compare("chain")


def test_ffmpeg_filters():
    need("ffmpeg", POCL)
    for filters in FILTERS:
        compare(filters)

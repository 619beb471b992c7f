#!/usr/bin/env python3
"""PyOpenCL on the platform under test, compared with NumPy.

PyOpenCL is the client that uses most of OpenCL's corners (its algorithms generate programs, keep
events and callbacks alive, and release everything from a garbage collector). The platform is
chosen as in cltest.h. Exit status: 0 passed, 1 failed, 2 no platform, 77 no PyOpenCL.
"""

import faulthandler
import os
import sys
import threading
import traceback
import warnings

os.environ["PYOPENCL_NO_CACHE"] = "1"  # every program goes through the platform under test
warnings.simplefilter("ignore")  # about compiler logs and deprecated spellings

try:
    import numpy as np
    import pyopencl as cl
    import pyopencl.array as cl_array
    from pyopencl.algorithm import RadixSort, copy_if, partition
    from pyopencl.elementwise import ElementwiseKernel
    from pyopencl.reduction import ReductionKernel
    from pyopencl.scan import ExclusiveScanKernel, InclusiveScanKernel
except ImportError as error:
    print(f"skip: {error}")
    sys.exit(77)

faulthandler.dump_traceback_later(240, exit=True)


def find_platform():
    """The platform named by CLTEST_PLATFORM (a substring), by default exactly Arax, or None."""
    wanted = os.environ.get("CLTEST_PLATFORM")
    for platform in cl.get_platforms():
        if wanted in platform.name if wanted else platform.name == "Arax":
            return platform
    return None


def check(actual, expected):
    """Exact for integers, close for floats."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    if np.issubdtype(expected.dtype, np.floating):
        assert np.allclose(actual, expected, rtol=1e-4), (actual, expected)
    else:
        assert np.array_equal(actual, expected), (actual, expected)


def test_program(ctx, queue):
    host = np.arange(10000, dtype=np.float32)
    flags = cl.mem_flags
    source = cl.Buffer(ctx, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=host)
    target = cl.Buffer(ctx, flags.WRITE_ONLY, host.nbytes)
    program = cl.Program(ctx, """
        kernel void f(global const float *a, global float *b, float c)
        { int i = get_global_id(0); b[i] = a[i] * c + 1; }""").build()
    out = np.empty_like(host)
    event = program.f(queue, host.shape, None, source, target, np.float32(2.5))
    cl.enqueue_copy(queue, out, target, wait_for=[event])
    check(out, host * np.float32(2.5) + 1)


def test_build_failure(ctx, queue):
    try:
        cl.Program(ctx, "kernel void f(global int *p) { p[0] = not_declared; }").build()
    except cl.RuntimeError as error:
        assert "not_declared" in str(error)
    else:
        raise AssertionError("built what cannot be built")


def test_arrays(ctx, queue):
    rng = np.random.default_rng(1)
    a, b = (rng.random(50000).astype(np.float32) for _ in range(2))
    x, y = cl_array.to_device(queue, a), cl_array.to_device(queue, b)
    check((x + y).get(), a + b)
    check((x * y - 3 * x).get(), a * b - 3 * a)
    check((x / (y + 1)).get(), a / (b + 1))
    check(x[100:200].get(), a[100:200])
    check(cl_array.arange(queue, 1000, dtype=np.int32).get(), np.arange(1000, dtype=np.int32))
    assert abs(cl_array.dot(x, y).get() - np.dot(a, b)) < 1
    assert cl_array.max(x).get() == a.max()
    assert cl_array.min(x).get() == a.min()


def test_elementwise(ctx, queue):
    a = np.arange(30000, dtype=np.int32)
    kernel = ElementwiseKernel(ctx, "int *x, int *z, int k", "z[i] = k * x[i] + (x[i] ^ 5)", "lin")
    x = cl_array.to_device(queue, a)
    z = cl_array.empty_like(x)
    kernel(x, z, np.int32(7))
    check(z.get(), 7 * a + (a ^ 5))


def test_reduction(ctx, queue):
    kernel = ReductionKernel(ctx, np.int64, neutral="0", reduce_expr="a+b",
                             map_expr="(long)x[i]*y[i]",
                             arguments="__global const int *x, __global const int *y")
    for n in (1, 31, 1000, 123457):
        a = np.arange(n, dtype=np.int32)
        b = (a * 7) % 13
        result = kernel(cl_array.to_device(queue, a), cl_array.to_device(queue, b)).get()
        assert result == int(np.dot(a.astype(np.int64), b)), n


def test_scan(ctx, queue):
    inclusive = InclusiveScanKernel(ctx, np.int32, "a+b", neutral="0")
    exclusive = ExclusiveScanKernel(ctx, np.int32, "a+b", neutral="0")
    for n in (1, 5, 511, 512, 513, 40001):
        a = np.random.default_rng(n).integers(0, 10, n, dtype=np.int32)
        total = np.cumsum(a, dtype=np.int32)
        x = cl_array.to_device(queue, a)
        inclusive(x)
        check(x.get(), total)
        x = cl_array.to_device(queue, a)
        exclusive(x)
        check(x.get(), total - a)


def test_algorithms(ctx, queue):
    a = np.random.default_rng(3).integers(0, 1000, 20000, dtype=np.int32)
    x = cl_array.to_device(queue, a)
    out, count, _ = copy_if(x, "ary[i] > 300", queue=queue)
    check(out.get()[:int(count.get())], a[a > 300])
    yes, no, count, _ = partition(x, "ary[i] > 300", queue=queue)
    n = int(count.get())
    check(yes.get()[:n], a[a > 300])
    check(no.get()[:len(a) - n], a[a <= 300])
    sort = RadixSort(ctx, "int *ary", key_expr="ary[i]", sort_arg_names=["ary"], key_dtype=np.int32)
    (ordered,), _ = sort(x, queue=queue)
    check(ordered.get(), np.sort(a))


def test_images(ctx, queue):
    if not queue.device.image_support:
        return
    host = np.random.default_rng(4).integers(0, 256, (37, 53, 4), dtype=np.uint8)
    flags = cl.mem_flags
    form = cl.ImageFormat(cl.channel_order.RGBA, cl.channel_type.UNSIGNED_INT8)
    image = cl.Image(ctx, flags.READ_ONLY | flags.COPY_HOST_PTR, form, shape=(53, 37), hostbuf=host)
    out = np.zeros_like(host)
    cl.enqueue_copy(queue, out, image, origin=(0, 0), region=(53, 37))
    check(out, host)
    program = cl.Program(ctx, """
        constant sampler_t s = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;
        kernel void transpose(read_only image2d_t a, write_only image2d_t b)
        { int2 p = (int2)(get_global_id(0), get_global_id(1));
          write_imageui(b, p.yx, read_imageui(a, s, p)); }""").build()
    turned = cl.Image(ctx, flags.WRITE_ONLY, form, shape=(37, 53))
    program.transpose(queue, (53, 37), None, image, turned)
    out = np.zeros((53, 37, 4), dtype=np.uint8)
    cl.enqueue_copy(queue, out, turned, origin=(0, 0), region=(37, 53))
    check(out, host.transpose(1, 0, 2))


def test_user_events(ctx, queue):
    host = np.arange(100, dtype=np.int32)
    buffer = cl.Buffer(ctx, cl.mem_flags.READ_WRITE, host.nbytes)
    gate, seen = cl.UserEvent(ctx), threading.Event()
    event = cl.enqueue_copy(queue, buffer, host, is_blocking=False, wait_for=[gate])
    event.set_callback(cl.command_execution_status.COMPLETE, lambda status: seen.set())
    queue.flush()
    assert not seen.is_set()
    assert event.command_execution_status != cl.command_execution_status.COMPLETE
    gate.set_status(cl.command_execution_status.COMPLETE)
    event.wait()
    assert seen.wait(30)
    out = np.empty_like(host)
    cl.enqueue_copy(queue, out, buffer)
    check(out, host)


def test_map(ctx, queue):
    host = np.arange(1000, dtype=np.float32)
    buffer = cl.Buffer(ctx, cl.mem_flags.COPY_HOST_PTR, hostbuf=host)
    mapped, _ = cl.enqueue_map_buffer(queue, buffer, cl.map_flags.READ | cl.map_flags.WRITE, 400,
                                      (100,), np.float32)
    check(mapped, host[100:200])
    mapped[:] = 5
    mapped.base.release(queue)
    out = np.empty_like(host)
    cl.enqueue_copy(queue, out, buffer)
    host[100:200] = 5
    check(out, host)


def test_sub_buffers(ctx, queue):
    align = queue.device.mem_base_addr_align // 8
    host = np.arange(4 * align, dtype=np.uint8)
    buffer = cl.Buffer(ctx, cl.mem_flags.COPY_HOST_PTR, hostbuf=host)
    part = buffer[align:3 * align]
    cl.enqueue_fill_buffer(queue, part, np.uint8(9), 0, align)
    out = np.empty_like(host)
    cl.enqueue_copy(queue, out, buffer)
    host[align:2 * align] = 9
    check(out, host)


def test_svm(ctx, queue):
    capabilities = queue.device.svm_capabilities
    if not capabilities & cl.device_svm_capabilities.COARSE_GRAIN_BUFFER:
        return
    memory = cl.SVM(cl.csvm_empty(ctx, (1000,), np.int32))
    with memory.map_rw(queue) as array:
        array[:] = np.arange(1000)
    program = cl.Program(ctx, "kernel void f(global int *p) { p[get_global_id(0)] *= 3; }").build()
    program.f(queue, (1000,), None, memory)
    with memory.map_ro(queue) as array:
        check(array.copy(), 3 * np.arange(1000, dtype=np.int32))


def test_profiling(ctx, queue):
    profiled = cl.CommandQueue(ctx, properties=cl.command_queue_properties.PROFILING_ENABLE)
    buffer = cl.Buffer(ctx, cl.mem_flags.READ_WRITE, 1 << 20)
    event = cl.enqueue_fill_buffer(profiled, buffer, np.int32(1), 0, 1 << 20)
    event.wait()
    times = event.profile
    assert times.queued <= times.submit <= times.start <= times.end


def test_binaries(ctx, queue):
    program = cl.Program(ctx, "kernel void f(global int *p) { p[get_global_id(0)] = 17; }").build()
    again = cl.Program(ctx, ctx.devices, program.get_info(cl.program_info.BINARIES)).build()
    x = cl_array.zeros(queue, 64, np.int32)
    again.f(queue, (64,), None, x.data)
    check(x.get(), np.full(64, 17, dtype=np.int32))


def main():
    platform = find_platform()
    if platform is None:
        print("not ok (start): the platform under test is not there")
        return 2
    ctx = cl.Context([platform.get_devices()[0]])
    queue = cl.CommandQueue(ctx)
    failed = False
    tests = {name[5:]: f for name, f in globals().items() if name.startswith("test_")}
    for name, function in tests.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        try:
            function(ctx, queue)
            queue.finish()
            print(f"ok {name}", flush=True)
        except Exception:  # any failure is the same here: say which and go on
            failed = True
            print(f"not ok {name}: {traceback.format_exc()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

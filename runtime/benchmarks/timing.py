"""Times of sessions, each engine in a process of its own, and only samples in which the process had the processor."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

WAITED = 0.04  # of a sample, in the run queue: above it the sample says more about others than about us


def waited() -> int:
    """Nanoseconds that this thread has waited for a processor so far."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


def measure(run, seconds=3.0, least=7):
    """Median of clean samples in milliseconds, and how many there were.

    Where a busy machine leaves too few, the lower quartile of the processor time of this thread, and 0: on one thread that
    is what a quiet machine would take, but for caches that others have emptied.
    """
    run()
    clean, every, end = [], [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(every) < least:
        before, start, used = waited(), time.perf_counter_ns(), time.thread_time_ns()
        run()
        taken, used = time.perf_counter_ns() - start, time.thread_time_ns() - used
        every.append(used)
        if waited() - before < WAITED * taken:
            clean.append(taken)
    if len(clean) >= least:
        return float(np.median(clean)) / 1e6, len(clean)
    return float(np.quantile(every, 0.25)) / 1e6, 0


TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def numbers(random, shape, dtype):
    """Normal numbers, or any bytes."""
    if np.dtype(dtype) == np.float32:
        return random.standard_normal(shape).astype(np.float32)
    return random.integers(0, 256, shape).astype(dtype)


def engine(name, path, threads):
    """A function that runs the model on normal numbers."""
    random = np.random.default_rng(1)
    if name == "openvino":
        import openvino

        model = openvino.Core().compile_model(
            str(path),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        feeds = [numbers(random, tuple(i.shape), i.element_type.to_dtype()) for i in model.inputs]
        request = model.create_infer_request()
        return lambda: request.infer(feeds)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if name == "onnxruntime":
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    else:
        import secateur_runtime

        extra = dict(part.split("=") for part in name.split(":")[1:])
        session = secateur_runtime.session(
            str(path), threads=threads, options=extra, session_options=options, strict=True
        )
        if os.environ.get("REPORT"):
            session.run(
                None,
                {i.name: numbers(random, i.shape, TYPES[i.type]) for i in session.get_inputs()},
            )
    feeds = {i.name: numbers(random, i.shape, TYPES[i.type]) for i in session.get_inputs()}
    return lambda: session.run(None, feeds)


def apart(name, path, threads=1, seconds=3.0):
    """(milliseconds, clean samples, megabytes resident) of an engine in a process of its own."""
    code = [sys.executable, __file__, name, str(path), str(threads), str(seconds)]
    done = subprocess.run(
        code, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def resident():
    """Megabytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    _, which, where, count, limit = sys.argv
    if int(count) == 1:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    runner = engine(which, where, int(count))
    milliseconds, samples = measure(runner, float(limit))
    print(json.dumps([milliseconds, samples, resident()]))

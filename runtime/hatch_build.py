"""Compiles the provider into the wheel, with the C++ compiler that PyPI carries (ziglang).

`SECATEUR_TARGET` names another machine to build for, one of `TARGETS`. Run as a program, it compiles for this machine
into the folder that is named: `python hatch_build.py FOLDER [TARGET]`.
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a program
    BuildHookInterface = object

ROOT = Path(__file__).parent
NATIVE = ROOT / "native"
# Machine to (zig's target, the wheel's tag, the library's name).
TARGETS = {
    "x86_64-linux": ("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", "libsecateur.so"),
    "aarch64-linux": ("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", "libsecateur.so"),
    "aarch64-macos": ("aarch64-macos.11.0", "macosx_11_0_arm64", "libsecateur.dylib"),
    "x86_64-windows": ("x86_64-windows-gnu", "win_amd64", "secateur.dll"),
}
# Kernels are compiled once an instruction set, each with its own flags.
KERNELS = {
    "x86_64": {
        "avx512": [
            "-DISA_AVX512=1",
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-mavx2",
            "-mfma",
        ],
        "avx2": ["-DISA_AVX2=1", "-mavx2", "-mfma"],
        "portable": [],
    },
    "aarch64": {"neon": ["-DISA_NEON=1"], "portable": []},
}
BYTES = {"avx512": ["-mavx512vnni"]}  # besides, for quantised layers
FLAGS = [
    "-std=c++17",
    "-O2",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-ffp-contract=fast",
    "-fno-sanitize=all",
    "-g0",
    "-Wall",
    "-Wextra",
    "-Werror",
]


def here() -> str:
    """Return the target that is this machine."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    return f"{machine}-{system}"


def compile_library(target: str, where: Path) -> Path:
    """Compile the library for a target into a folder; raises with the compiler's words where it cannot."""
    if target not in TARGETS:
        raise ValueError(f"secateur-runtime is built for {', '.join(TARGETS)}, not for {target}")
    triple, _, name = TARGETS[target]
    machine, system = target.split("-")
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", triple]
    flags = (
        FLAGS
        + [f"-I{folder}" for folder in (NATIVE, NATIVE / "graph", NATIVE / "kernels")]
        + ([] if system == "windows" else ["-fPIC"])
    )
    with tempfile.TemporaryDirectory() as temporary:
        jobs = [
            (source, Path(temporary) / f"{source.stem}.o", []) for source in sorted(NATIVE.rglob("*.cpp"))
        ]
        jobs = [job for job in jobs if job[0].parent.name != "kernels"]
        for isa, own in KERNELS[machine].items():
            for source in sorted((NATIVE / "kernels").glob("*.cpp")):
                extra = [*BYTES.get(isa, []), "-ffp-contract=off"] if source.stem == "bytes" else []
                jobs.insert(0, (source, Path(temporary) / f"{source.stem}_{isa}.o", [*own, *extra]))

        def compile_one(job: tuple[Path, Path, list[str]]) -> str:
            source, out, own = job
            run([*compiler, *flags, *own, "-c", str(source), "-o", str(out)])
            return str(out)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, jobs))
        link = ["-shared", "-nostdlib++", "-s"]
        if system == "linux":
            link += [f"-Wl,--version-script={NATIVE / 'exports.map'}", "-Wl,-z,nodelete"]
        if system == "macos":  # otherwise the path at which it was compiled is its name
            link += [f"-Wl,-install_name,@rpath/{name}"]
        where.mkdir(parents=True, exist_ok=True)
        run([*compiler, *link, *objects, "-o", str(where / name)])
    return where / name


def run(command: list[str]) -> None:
    """Run the compiler; its words are the error."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


class Library(BuildHookInterface):
    """Puts the compiled library beside the Python files, and the platform into the wheel's tag."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Compile before files are collected. An editable installation gets the library into its source folder."""
        if self.target_name != "wheel":
            return
        target = os.environ.get("SECATEUR_TARGET") or here()
        library = compile_library(
            target, ROOT / ("build/" + target) if version != "editable" else ROOT / "src/secateur_runtime"
        )
        build_data["tag"] = f"py3-none-{TARGETS[target][1]}"
        build_data["pure_python"] = False
        if version != "editable":
            build_data["force_include"][str(library)] = f"secateur_runtime/{library.name}"


if __name__ == "__main__":
    print(compile_library(sys.argv[2] if len(sys.argv) > 2 else here(), Path(sys.argv[1])))  # noqa: T201

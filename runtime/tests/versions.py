"""The tests of the runtime on releases of onnxruntime from the oldest to the newest: `make -C runtime versions`.

    python tests/versions.py [VERSION ...] [--out FILE]

The wheel is built once; each release gets an environment of its own, beside it the numpy, onnx and pytest of this one, and
no torch. One older than the floor gets the tests of too_old.py. Writes a line a release, and exits 1 where a test failed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
FLOOR = (1, 24, 3)
RELEASES = (
    "1.23.2", "1.24.3", "1.24.4", "1.25.1", "1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.0", "1.31.1", "1.32.0",
)  # fmt: skip
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
BESIDE = ("numpy", *(line.partition(">")[0] for line in GROUPS["test"]))


def run(command: list[str]) -> None:
    """Run a step; its words are the error."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def tried(release: str, wheel: Path, folder: Path) -> dict[str, int | str]:
    """Numbers of tests that passed, were skipped and failed on a release; `died` is how a process ended without them."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    run([*install, f"onnxruntime=={release}", *(f"{name}=={version(name)}" for name in BESIDE)])
    run([*install, "--no-deps", str(wheel)])
    old = tuple(int(part) for part in release.split(".")) < FLOOR
    found = folder / "found.xml"
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={found}", "tests/too_old.py" if old else "tests"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.stderr.write(f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n")
    if not found.is_file():
        return {"passed": 0, "skipped": 0, "failed": 0, "died": f"exit status {done.returncode}"}
    (suite,) = ElementTree.parse(found).getroot().iter("testsuite")
    tests, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return {"passed": tests - skipped - failed, "skipped": skipped, "failed": failed}


def main() -> None:
    """Build the wheel and try each release."""
    parser = argparse.ArgumentParser(description="Tests of the runtime on releases of onnxruntime.")
    parser.add_argument("releases", nargs="*", default=RELEASES, metavar="VERSION")
    parser.add_argument("--out", type=Path, help="file to write, JSON")
    given = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "--wheel-dir",
                str(folder),
                str(ROOT),
            ]
        )
        (wheel,) = folder.glob("*.whl")
        for release in given.releases:
            with tempfile.TemporaryDirectory(dir=folder) as environment:
                results[release] = tried(release, wheel, Path(environment))
            sys.stdout.write(f"onnxruntime {release}: {results[release]}\n")
            sys.stdout.flush()
    if given.out:
        what = {
            "command": "make -C runtime versions",
            "machine": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "versions": {name: version(name) for name in BESIDE},
        }
        given.out.write_text(json.dumps({**what, "onnxruntime": results}, indent=1) + "\n", newline="\n")
    if any(found["failed"] or "died" in found for found in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()

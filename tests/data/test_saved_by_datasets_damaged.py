"""Folders and Parquet files that ``datasets`` wrote, damaged or made up: nothing is run, and what is wrong is named."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miniatures.colours import coloured
from miniatures.hf_images import LABELS, SETTINGS, table
from miniatures.saved_by_datasets import pa, parquet, pq, rows, saved
from processes.forked import program
from secateur.data.hf_images import hf_images, hf_images_frames

pytestmark = pytest.mark.usefixtures("_quiet_datasets")


def test_images_that_lie_beside_are_put_in_by_save_to_disk_and_refused_elsewhere(tmp_path: Path) -> None:
    """A path in a row is never opened, for a row may name any file of the reader, or an address."""
    for n in (1, 2, 3):
        Image.fromarray(coloured(10 * n, 8, 8)).save(tmp_path / f"{n}.png")
    data = rows([1, 2, 3], image=[str(tmp_path / f"{n}.png") for n in (1, 2, 3)])
    data.save_to_disk(str(tmp_path / "set"))
    settings = {**SETTINGS, "val_count": 1, "test_count": 1}
    assert len(hf_images(root=str(tmp_path / "set"), **settings).train) == 1
    (tmp_path / "other").mkdir()
    data.to_parquet(str(tmp_path / "other/train.parquet"))  # keeps the paths
    with pytest.raises(
        ValueError, match=r"row \d, image is no image: .* only the path '.*\d.png'; .*save_to_disk"
    ):
        hf_images(root=str(tmp_path / "other"), **settings)
    address = {"bytes": None, "path": "http://127.0.0.1:9/x.png"}
    pq.write_table(table([1, 2, 3], image=[address] * 3), tmp_path / "other/train.parquet")
    with pytest.raises(ValueError, match="only the path 'http"):
        hf_images(root=str(tmp_path / "other"), **settings)


ALONE = """
import random, sys
from pathlib import Path
events, written = [], []
watched = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")


def watch(event, args):
    if event in watched:
        events.append(event)
    if event == "open" and set(str(args[1])) & set("wax+"):
        written.append(args[0])


sys.addaudithook(watch)
sys.modules["datasets"] = None
import numpy.testing  # of NumPy 2.0: asks lscpu what the processor is
import pyarrow
from secateur.data.arrow import class_names, values
from secateur.data.hf_images import hf_images
from secateur.data.rows import Rows

columns, draw = ("image", "kind", "legs", "box"), random.Random(0)
ends = (b"\\xff\\xff\\xff\\x7f", b"\\xff" * 4, b"\\0\\0\\0\\x80", b"\\0\\0\\1\\0")
for root in map(Path, sys.argv[1:]):
    events.clear(), written.clear()  # of the imports
    data = hf_images(root=str(root), labels={"kind": "kind", "count": "legs"}, size=(8, 8), batch=1)
    assert [len(list(getattr(data, name))) for name in ("train", "val", "test")] == [9, 2, 2]
    file = next(path for path in sorted(root.rglob("*")) if path.suffix in (".arrow", ".parquet"))
    assert Rows([file], columns)[0]["box"].shape == (2, 2)
    assert not events, events
    assert not written, written
    kept, outcomes = file.read_bytes(), {"read": 0, "refused": 0}
    for n in range(200):
        content = bytearray(kept)
        place, length = draw.randrange(len(content) - 40), draw.choice((1, 4, 40))
        if n % 3 == 0:
            del content[place:]
        elif n % 3 == 1:
            content[place : place + length] = draw.randbytes(length)
        else:
            content[place : place + 4] = draw.choice(ends)
        file.unlink()  # not in place: what is mapped must stay as it is
        file.write_bytes(content)
        try:
            class_names(file), values([file], "legs"), list(Rows([file], columns))
            outcomes["read"] += 1
        except (ValueError, FileNotFoundError) as error:
            assert str(file) in str(error), error
            assert "again" in str(error) or "lacks the columns" in str(error), error
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes
"""


def test_without_datasets_or_network_and_damage_is_named(tmp_path: Path) -> None:
    """Nothing is fetched, run or written; a damaged file raises an error that names it, and never ends the process."""
    saved(tmp_path / "a")
    parquet(tmp_path / "b")
    done = program(ALONE, str(tmp_path / "a"), str(tmp_path / "b"))
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_no_code_is_run_for_a_type_that_is_pickled_in_the_file(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    saved(tmp_path / "set")
    file = next((tmp_path / "set/test").glob("*.arrow"))
    with pa.ipc.open_stream(io.BytesIO(file.read_bytes())) as stream:
        content = stream.read_all()
    kind = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil()),
    }
    place = content.schema.get_field_index("legs")
    schema = content.schema.set(place, content.schema.field("legs").with_metadata(kind))
    with pa.ipc.new_stream(str(file), schema) as writer:
        writer.write_table(content.cast(schema))
    hf_images(root=str(tmp_path / "set"), **SETTINGS)
    assert not (tmp_path / "run").exists()


DAMAGED = [
    ("state.json", "[" * 100_000, "state.json is damaged"),
    (
        "state.json",
        '{"_data_files": [{"filename": "../validation/data-00000-of-00001.arrow"}]}',
        "other folders",
    ),
    ("state.json", '{"_data_files": [{"filename": "/etc/passwd"}]}', "other folders"),
    ("state.json", '{"_data_files": [{"filename": 7}]}', "state.json is damaged"),
    (
        "dataset_info.json",
        '{"features": {"kind": {"_type": "ClassLabel", "names": 7}}}',
        "metadata are damaged",
    ),
    ("dataset_info.json", '{"features": {"kind": {"_type": "ClassLabel", "names": "abc"}}}', "names=abc"),
    (
        "dataset_info.json",
        '{"features": {"kind": {"_type": "ClassLabel", "names": [1]}}}',
        "metadata are damaged",
    ),
    ("dataset_info.json", "[" * 100_000, "metadata are damaged"),
    ("dataset_info.json", "[]", "metadata are damaged"),
]


@pytest.mark.parametrize(("name", "content", "match"), DAMAGED)
def test_what_lies_beside_the_rows_is_damaged(tmp_path: Path, name: str, content: str, match: str) -> None:
    saved(tmp_path / "set")
    for file in (tmp_path / "set/train").glob("*.arrow"):  # the names of classes are then read beside it
        with pa.ipc.open_stream(io.BytesIO(file.read_bytes())) as stream:
            read = stream.read_all()
        with pa.ipc.new_stream(str(file), read.schema.remove_metadata()) as writer:
            writer.write_table(read.replace_schema_metadata(None))
    (tmp_path / "set/train" / name).write_text(content)
    with pytest.raises(ValueError, match=match) as raised:
        hf_images_frames(root=str(tmp_path / "set"), labels=LABELS)
    assert "set/train/" in str(raised.value)

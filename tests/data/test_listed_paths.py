"""Lists of a data set name files in its folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.data.captions.captions import captions
from secateur.data.lists import listed_names, listed_rows


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd"])
def test_what_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(f"0001\n{name}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"train\.txt lists .*leads out of the folder"):
        listed_names(tmp_path / "train.txt", "train")
    listed = {split: [{"clip": name, "caption": "a word"}] for split in ("train", "val", "test")}
    (tmp_path / "captions.json").write_text(json.dumps(listed), encoding="utf-8")
    with pytest.raises(ValueError, match=r"captions\.json lists .*leads out of the folder"):
        captions(root=str(tmp_path))
    (tmp_path / "rows.json").write_text(json.dumps({"train": [[name, "b"]]}), encoding="utf-8")
    if name.startswith("/"):  # AdaShare's begin with a slash and lie in the folder
        assert listed_rows(tmp_path / "rows.json", ["train"], 2) == {"train": [[name[1:], "b"]]}
    else:
        with pytest.raises(ValueError, match=r"rows\.json lists .*leads out of the folder"):
            listed_rows(tmp_path / "rows.json", ["train"], 2)

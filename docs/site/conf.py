"""Sphinx's configuration of the site: `make docs`. Nothing is fetched while it builds, and any warning is an error."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]
import names  # noqa: E402

project = "secateur"
author = "the authors of secateur"
html_title = "secateur"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["site"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
highlight_language = "text"  # a block without a language shows commands, their output or the names of files
copybutton_exclude = ".linenos, .gp, .go"

# Pages are read on GitHub too: plain Markdown wherever it will do.
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 4

# Tutorials are run where nothing lies, and again only when they or the package have changed; one that fails stops the build.
_sources = hashlib.sha256()
for _path in sorted((ROOT / "src").rglob("*.py")):
    _sources.update(_path.read_bytes())
nb_execution_mode = os.environ.get(
    "SECATEUR_NOTEBOOKS", "cache"
)  # off: the pages without what the cells print
nb_execution_cache_path = str(ROOT / "build" / "notebooks" / _sources.hexdigest()[:10])
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 1200  # of a cell, on a busy machine
nb_merge_streams = True
nb_render_markdown_format = "myst"  # which knows tables
nb_output_stderr = "remove"  # what libraries say while they are imported differs from machine to machine
os.environ.setdefault("OMP_NUM_THREADS", "2")
_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT / "src"), *_path])
)  # of this tree, wherever a kernel begins

autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "class"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore_regex = [
    # What is not ours has no page here, and the lists of other sites' pages would have to be fetched.
    (r"py:.*", r"(?!secateur).*"),
    (r"py:class", r".*\.[A-Z]"),  # type variables
]

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_workers = 2
linkcheck_report_timeouts_as_broken = True


def setup(app: Any) -> None:
    """Names are linked to where their room hands them out, whatever file they are written in."""
    warnings.simplefilter("ignore")  # of libraries that autodoc imports; Sphinx's own are logged
    app.connect("missing-reference", names.resolve)
    app.connect("autodoc-process-docstring", names.unbarred)
    app.connect("autodoc-process-signature", names.initialised)
    app.connect("source-read", names.titled)

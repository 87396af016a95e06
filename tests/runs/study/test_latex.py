"""The tables of a paper: names that LaTeX takes, marks, parts, captions and labels."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from run_folders import write_cell
from secateur.runs.study import Results, collect, with_columns
from secateur.runs.study.tables.columns import fitted
from secateur.runs.study.tables.fitting import on_a_page
from secateur.runs.study.tables.latex import About, as_table, escaped, long, short
from secateur.runs.study.tables.table import to_markdown


def made(out: Path, *names: str, **more: object) -> Results:
    cells = [write_cell(out, "dense", s, 0.5, 1.0) for s in range(3)]
    for place, name in enumerate(names):
        cells += [write_cell(out, name, s, 0.6 + 0.1 * place + 0.01 * s, 1.0, 0.1) for s in range(3)]
    return collect(cells, out)


def rows(latex: str) -> list[list[str]]:
    """Cells of every row; what is escaped divides nothing."""
    lines = [line.removesuffix("*") for line in latex.splitlines() if line.removesuffix("*").endswith(r"\\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line[:-2])] for line in lines]


@pytest.mark.parametrize("write", [short, long])
def test_it_is_whole(tmp_path: Path, write) -> None:
    latex = write(made(tmp_path, "good", "alike"), About("table1", "nyuv2_160"))
    for kind in ("table", "tabular", "longtable"):
        assert latex.count(rf"\begin{{{kind}}}") == latex.count(rf"\end{{{kind}}}") <= 1
    assert latex.count(r"\toprule") >= 1 <= latex.count(r"\bottomrule")
    assert r"\caption{Test results on nyuv2\_160." in latex
    assert re.search(r"\\label\{tab:table1(-long)?\}", latex)
    assert latex.splitlines()[0].startswith(r"% \usepackage{booktabs")
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")
    wide = len(re.search(r"\{l(r*)\}", latex)[1])  # type: ignore[index]
    body = latex.split(r"\midrule", 1)[1]
    assert all(len(cells) <= wide + 1 for cells in rows(body))


def test_the_short_table_is_what_markdown_says(tmp_path: Path) -> None:
    found = with_columns(made(tmp_path, "good", "better"), ["delta_t", "seg.miou", "density"])
    body = [line.strip("| ").split(" | ") for line in to_markdown(found).splitlines()[2:]]
    for cells, expected in zip(rows(short(found, About()))[2:], body, strict=True):
        for cell, text in zip(cells[1:], expected[1:], strict=True):
            assert (r"\textbf" in cell) == ("**" in text)
            assert (r"\underline" in cell) == (text.startswith("*") and "**" not in text)
            bare = re.sub(r"\\(textbf|underline)\{(.*)\}", r"\2", cell)
            assert bare == escaped(text.strip("*")) or rf"{bare}\,\%" == escaped(text.strip("*"))


def test_without_columns_it_is_delta_a_metric_a_task_and_the_density(tmp_path: Path) -> None:
    heads = rows(short(made(tmp_path, "good"), About()))[1]
    assert heads == ["", r"mean $\uparrow$", r"miou $\uparrow$", r"abs $\downarrow$", "overall"]


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("a_b & c%", r"a\_b \& c\%"),
        (r"C:\x{y}", r"C:\textbackslash{}x\{y\}"),
        ("$5 #1 ~ ^", r"\$5 \#1 \textasciitilde{} \textasciicircum{}"),
        ("[x] *", "{[}x] {*}"),
        ("λ ± −1", r"$\lambda$ $\pm$ $-$1"),
        ("a\nb", "a b"),
        ("ΔT", r"$\Delta$T"),
        ("Σ λ²", r"$\Sigma$ $\lambda$$^2$"),
        ("a---b `c`", r"a-{}-{}-b \textasciigrave{}c\textasciigrave{}"),
    ],
)
def test_escaped(plain: str, written: str) -> None:
    assert escaped(plain) == written


def test_odd_names_break_no_table(tmp_path: Path) -> None:
    odd = "[a]_b & 50% {c} $d# ~^ λ\\"
    found = made(tmp_path, odd, "good")
    for latex in (short(found, About()), long(found, About())):
        lengths = {len(cells) for cells in rows(latex) if "good" in cells[0]}
        assert {len(cells) for cells in rows(latex) if cells[0].startswith("{[}")} == lengths
        assert escaped(odd) in latex
    (line,) = [line for line in to_markdown(found).splitlines() if "50" in line and "a" in line[:5]]
    assert len(re.split(r"(?<!\\)\|", line)) == len(to_markdown(found).splitlines()[0].split("|"))


def test_plain_text_as_a_table() -> None:
    latex = as_table(["", "a_b"], [["x & y", "1"]], caption="50 %", label="t")
    assert r"\caption{50 \%}" in latex
    assert latex.index(r"\midrule") < latex.index(r"x \& y & 1 \\")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([50.0] * 4, [[50.0] * 4]),
        ([50.0] * 8, [[50.0] * 5, [50.0] * 3]),
        (
            [20.0, 200.0, 200.0, 20.0],
            [[20.0], [200.0], [200.0], [20.0]],
        ),  # as wide as the widest of their column
        ([900.0, 10.0], [[900.0], [10.0]]),
    ],
)
def test_columns_fit_on_a_page(sizes: list[float], expected: list[list[float]]) -> None:
    letters, parts = on_a_page(100.0, lambda most: fitted(sizes, most, float), list)
    assert parts == expected
    assert (r"\footnotesize" in letters) == (len(expected) > 1)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_it_compiles_and_nothing_sticks_out(tmp_path: Path) -> None:
    found = made(tmp_path / "runs", "less_is_more", "[a]_b & 50% {c} $d# ~^ λ\\", "alike")
    heads = ["", *(f"figure {n} of a task" for n in range(9))]
    plain = as_table(heads, [["row", *"123456789"]], caption="50 %", label="t")
    latex = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,longtable}\begin{document}"
    latex += "\n".join(["", short(found, About("a", "rooms")), long(found, About("a")), plain])
    (tmp_path / "paper.tex").write_text(latex + r"\end{document}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, done.stdout

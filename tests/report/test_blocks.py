"""Pages as Markdown and LaTeX: what names may hold breaks neither."""

import re
import shutil
import subprocess

import pytest

from cmad.report.blocks import Facts, Heading, Items, Table, Text, as_latex, as_markdown

NASTY = '50% of_a & b #1 {x} $y^2$ \\end ~z <t> |u| "q" [v] *w* `c` --'
FOREIGN = "Stück 部品 \udcff"
PAGE = [
    Heading(NASTY, 1),
    Text("Said of it.", strong=NASTY),
    Items([NASTY, FOREIGN, "[1] first"]),
    Heading("Beside"),
    Table(["method", *"abcdefghijkl"], [[NASTY, *["0.500 ± 0.123"] * 12], ["[1]", *["-"] * 12]]),
    Table(["a_b", "b"], [["*", "1"]]),
    Facts({"note": 'a | b, "c"', "path": "x`y", "lines": "a\nb"}, "cmad evaluate 'a b'"),
]


def test_latex_escapes_every_special_character():
    body = as_latex([Text(NASTY)]).split("\\begin{document}")[1]
    said = (
        r"50\% of\_a \& b \#1 \{x\} \$y\textasciicircum{}2\$ \textbackslash{}end "
        r"\textasciitilde{}z \textless{}t\textgreater{} \textbar{}u\textbar{} "
        r"\textquotedbl{}q\textquotedbl{} {[}v{]} {*}w{*} `c` -{}-{}"
    )
    assert said in body


def test_latex_shows_letters_that_its_fonts_lack_by_number():
    body = as_latex([Text(FOREIGN)]).split("\\begin{document}")[1]
    assert "Stück {[}U+90E8{]}{[}U+54C1{]} {[}U+DCFF{]}" in body
    as_latex([Text(FOREIGN)]).encode("utf-8")


def test_latex_tables_are_ruled_and_have_as_many_cells_in_each_row():
    text = as_latex(PAGE)
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", text, re.S)
    assert [kinds for kinds, _ in tables] == ["l" + 12 * "r", "lr"]
    for kinds, inner in tables:
        assert re.findall(r"\\(\w+rule)", inner) == ["toprule", "midrule", "bottomrule"]
        for row in re.findall(r"^(.*) \\\\$", inner, re.M):
            assert len(re.findall(r"(?<!\\)&", row)) == len(kinds) - 1
    assert "0.500 $\\pm$ 0.123" in text


def test_latex_says_what_was_run_in_comments_of_one_line_each():
    head = as_latex(PAGE).split("\\documentclass")[0].splitlines()
    assert head[0] == "% cmad evaluate 'a b'"
    assert all(line.startswith("% ") for line in head)


def test_latex_compiles(tmp_path):
    """Where there is a LaTeX; its packages are those of a small installation."""
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex")
    (tmp_path / "a.tex").write_text(as_latex(PAGE), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "a.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert b"Overfull" not in ran.stdout


def test_markdown_keeps_names_from_being_markup():
    page = as_markdown(PAGE)
    (row,) = [line for line in page.splitlines() if line.startswith("| 50%")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 14
    assert r"\<t> \|u\|" in row
    assert r"\*w\*" in row
    assert "| a_b | b |\n|---|---:|\n| \\* | 1 |\n" in page


def test_markdown_values_hold_bars_backticks_and_line_breaks():
    page = as_markdown(PAGE)
    assert '| note | `"a \\| b, \\"c\\""` |' in page
    assert '| path | ``"x`y"`` |' in page
    assert '| lines | `"a\\nb"` |' in page
    assert "```bash\ncmad evaluate 'a b'\n```\n" in page

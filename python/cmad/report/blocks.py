"""Pages of headings, sentences and tables, written as Markdown or as LaTeX."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str
    level: int = 2
    """1 for the page's own."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    strong: str = ""
    """Set in bold before it."""


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table; all columns but the first are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Facts:
    """What was run: values by name, fit for JSON. In LaTeX it is a comment at the top."""

    values: Mapping[str, object]
    command: str = ""


Block = Heading | Text | Items | Table | Facts


def as_markdown(blocks: Iterable[Block]) -> str:
    """Write a page as Markdown."""
    return "\n".join(_markdown(block) for block in blocks)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}\n"
        case Text(text, strong):
            bold = f"**{_plain(strong)}** " if strong else ""
            return f"{bold}{_plain(text)}\n"
        case Items(items):
            return "".join(f"- {_plain(item)}\n" for item in items)
        case Table(columns, rows):
            lines = ["| " + " | ".join(map(_plain, columns)) + " |"]
            lines.append("|---|" + "---:|" * (len(columns) - 1))
            lines += ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]
            return "\n".join(lines) + "\n"
        case Facts(values, command):
            lines = [f"```bash\n{command}\n```\n"] if command else []
            lines += ["| what | value |", "|---|---|"]
            lines += [f"| {_plain(name)} | {_code(value)} |" for name, value in values.items()]
            return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Escape what Markdown would take for markup, and keep it on one line."""
    return re.sub(r"[\\|*`<]", r"\\\g<0>", " ".join(text.split()))


def _code(value: object) -> str:
    text = json.dumps(value).replace("|", "\\|")  # a table's cell ends at | within code, too
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
% A table, made smaller where it is wider than the page.
\newcommand{\fitted}[1]{\par\medskip\noindent\sbox0{#1}%
  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi\par\medskip}
\begin{document}
"""
_SPECIAL = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # would be an argument behind \\ or \item
    "]": "{]}",
    "*": "{*}",  # likewise
    "-": "-{}",  # two would be a dash
    "±": r"$\pm$",
    "²": r"$^2$",
}


def as_latex(blocks: Iterable[Block]) -> str:
    """Write a page as a LaTeX document that compiles by itself; its tables take ``booktabs``."""
    blocks = list(blocks)
    facts = [line for block in blocks if isinstance(block, Facts) for line in _comments(block)]
    body = [_latex(block) for block in blocks if not isinstance(block, Facts)]
    # A comment must not bring back what an escaped name has kept out.
    return "\n".join([*facts, PREAMBLE, *body, "\\end{document}\n"])


def _comments(facts: Facts) -> list[str]:
    said = [facts.command] if facts.command else []
    said += [f"{name}: {json.dumps(value)}" for name, value in facts.values.items()]
    return [f"% {' '.join(line.split())}" for line in said]


def _latex(block: Block) -> str:
    match block:
        case Heading(text, level):
            command = {1: "section", 2: "subsection"}.get(level, "subsubsection")
            return f"\\{command}*{{{_escaped(text)}}}\n"
        case Text(text, strong):
            bold = f"\\textbf{{{_escaped(strong)}}} " if strong else ""
            return f"{bold}{_escaped(text)}\n"
        case Items(items):
            listed = "".join(f"  \\item {_escaped(item)}\n" for item in items)
            return f"\\begin{{itemize}}\n{listed}\\end{{itemize}}\n"
        case Table(columns, rows):
            lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (columns, *rows)]
            head, *rest = lines
            inner = "\n".join(["\\toprule", head, "\\midrule", *rest, "\\bottomrule"])
            kinds = "l" + "r" * (len(columns) - 1)
            return f"\\fitted{{\\begin{{tabular}}{{{kinds}}}\n{inner}\n\\end{{tabular}}}}\n"
    raise AssertionError(block)


def _escaped(text: str) -> str:
    """Escape a text for LaTeX; letters that its standard fonts lack become their numbers."""
    return "".join(
        _SPECIAL.get(c) or (c if " " <= c < "\x7f" or "\xa1" <= c <= "\u017f" else _number(c))
        for c in " ".join(text.split())
    )


def _number(character: str) -> str:
    return f"{{[}}U+{ord(character):04X}{{]}}"

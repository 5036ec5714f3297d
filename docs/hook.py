"""What makes a site of docs/, called by mkdocs. The pages stay as they read on GitHub.

README.md is the first page and CHANGELOG.md one of them; the notebook becomes a page, with outputs
where `docs/run_notebook.py` wrote them; links to files outside docs/ lead to the repository
(`repo_url` in mkdocs.yml) or, without one, are left as plain words.
"""

import base64
import json
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOK = "docs/first_steps.ipynb"
EXECUTED = ROOT / "build" / "first_steps.ipynb"
# Files of the repository that are pages by another name.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changes.md", NOTEBOOK: "first_steps.md"}
ORIGINS = {page: origin for origin, page in PAGES.items()}
LINK = re.compile(r"(?P<words>\[(?:[^\[\]]|\[[^\[\]]*\])*\])\((?P<target>[^)\s]+)\)")


def on_files(files, config):
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File  # so that tests need no mkdocs

    pictures = {}
    for origin, page in PAGES.items():
        content = notebook(pictures) if origin == NOTEBOOK else (ROOT / origin).read_text()
        files.append(File.generated(config, page, content=content))
    for name, data in pictures.items():
        files.append(File.generated(config, name, content=data))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links that hold in the repository into such that hold in the site."""
    return relinked(markdown, page.file.src_uri, config.repo_url)


def relinked(markdown, page, repository):
    """Rewrite the links of a page's text; code blocks are left alone.

    What does not exist stays as it is, for mkdocs to find.
    """
    folder = posixpath.dirname(ORIGINS.get(page, f"docs/{page}"))

    def link(found):
        target, _, anchor = found["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        inside = PAGES.get(path) or (path[5:] if path.startswith("docs/") else None)
        if inside is None and (ROOT / path).exists():
            words = found["words"]
            return (
                f"{words}({repository.rstrip('/')}/blob/main/{path})" if repository else words[1:-1]
            )
        if inside is None:
            return found[0]
        relative = posixpath.relpath(inside, posixpath.dirname(page) or ".")
        return f"{found['words']}({relative}{'#' if anchor else ''}{anchor})"

    parts = re.split(r"(^ *```.*?^ *```)", markdown, flags=re.M | re.S)
    return "".join(p if i % 2 else LINK.sub(link, p) for i, p in enumerate(parts))


def notebook(pictures):
    """Write the notebook as Markdown; its pictures go into ``pictures`` by name."""
    path = EXECUTED if EXECUTED.exists() else ROOT / NOTEBOOK
    out = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            out.append(source)
            continue
        out.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            if "image/jpeg" in (data := output.get("data", {})):
                name = f"first_steps_{cell['id']}.jpg"
                pictures[name] = base64.b64decode("".join(data["image/jpeg"]))
                out.append(f"![{cell['id'].replace('-', ' ')}]({name})")
            elif "text" in output:
                out.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
    return "\n\n".join(out) + "\n"

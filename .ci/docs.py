"""Render README.md and every notebook, with its stored outputs, to a linked static site: `docs.py FOLDER`.

Nothing is executed and nothing is loaded from elsewhere: the site reads the same without a network. Formulas stay
as they are typed, since showing them set would take MathJax from a server.
"""

import ast
import html
import os
import re
import shutil
import sys
import warnings
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
FLOORS = {
    "0": "Foundations", "1": "Market data and replay", "2": "Features", "3": "Models", "4": "Evaluation", "5": "Registry", "6": "Service",
    "7": "Pipeline", "8": "Command line and client", "pipelines": "What papermill runs", "experiments": "Experiments",
}  # fmt: skip

STYLE = """
:root { --ink: #1c2733; --soft: #5b6b7b; --line: #dde4ea; --link: #1f5fa8; --code: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.6 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; display: flex; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
aside { flex: 0 0 17rem; height: 100vh; position: sticky; top: 0; overflow-y: auto; padding: 1.5rem 1.25rem;
  border-right: 1px solid var(--line); font-size: .87rem; }
aside b { display: block; margin-top: 1rem; color: var(--soft); font-weight: 600; font-size: .78rem; text-transform: uppercase; letter-spacing: .05em; }
aside a { display: block; padding: .12rem 0; } aside a.here { font-weight: 600; color: var(--ink); }
main { flex: 1 1 auto; min-width: 0; max-width: 68rem; padding: 1.5rem 2.5rem 4rem; }
p, li, blockquote { max-width: 52rem; }
h1 { line-height: 1.2; font-size: 2.1rem; } h2 { margin-top: 2.5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h1, h2, h3 { scroll-margin-top: 1rem; } .anchor-link { opacity: 0; padding-left: .4rem; } :hover > .anchor-link { opacity: .4; }
blockquote { margin: 1rem 0; padding: .1rem 1.1rem; border-left: 4px solid var(--link); color: var(--soft); font-size: 1.1rem; }
code, pre { font: .87em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
:not(pre) > code { background: var(--code); padding: .1em .3em; border-radius: 3px; }
pre { font-size: .8rem; margin: 0; padding: .7rem .9rem; overflow-x: auto; background: var(--code); border-radius: 5px; }
.input { margin: 1rem 0 .4rem; } .celltag_exported .input { border-left: 4px solid #7fb3a0; }
.output { margin: 0 0 1rem; } .output pre { background: none; padding: .2rem .9rem; border-left: 2px solid var(--line); border-radius: 0; }
.prompt { display: none; } .dataframe { margin: .5rem 0; }
img { max-width: 100%; } table { border-collapse: collapse; font-size: .87rem; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; } main > table td { text-align: left; vertical-align: top; }
nav { display: flex; justify-content: space-between; gap: 1rem; margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
.contents td:first-child { white-space: nowrap; } .file { color: var(--soft); font-size: .85rem; }
@media (max-width: 60rem) { body { flex-direction: column-reverse; }
  aside { position: static; height: auto; flex: none; border: 0; border-top: 1px solid var(--line); } main { padding: 1rem; } }
"""


@dataclass
class Page:
    """One notebook on its way to the site."""

    path: Path
    notebook: nbformat.NotebookNode = field(repr=False)
    title: str
    promise: str

    @property
    def address(self) -> str:
        """Where the page lies in the site."""
        return self.path.relative_to(NBS).with_suffix(".html").as_posix()

    @property
    def floor(self) -> str:
        """The heading it stands under."""
        folder = self.path.parent.relative_to(NBS).parts
        return FLOORS.get(folder[0] if folder else self.path.name[0], "More")


def read_page(path: Path) -> Page:
    """Load a notebook; its first heading is the title, its first quoted line the promise."""
    notebook = nbformat.read(path, as_version=4)
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.search(r"^# +(.+)$", prose, re.MULTILINE)
    promise = re.search(r"^> *(.+)$", prose, re.MULTILINE)
    return Page(path, notebook, title[1].strip() if title else path.stem, promise[1].strip() if promise else "")


def read_pages() -> list[Page]:
    """Every notebook in reading order: those that export, then what papermill runs. The site's front page replaces index.ipynb."""
    folders = [NBS, NBS / "pipelines", NBS / "experiments"]
    return [read_page(path) for folder in folders for path in sorted(folder.glob("*.ipynb")) if path.name != "index.ipynb"]


def defined_names(source: str) -> list[str]:
    """The public functions, classes and constants that a cell defines."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with a magic
        return []
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    names += [target.id for node in body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def index_names(pages: list[Page]) -> dict[str, str]:
    """For each exported name, the address of the cell that defines it."""
    exported = ((page, cell) for page in pages for cell in page.notebook.cells if cell.cell_type == "code" and is_exported(cell.source))
    return {name: f"{page.address}#cell-id={cell.id}" for page, cell in exported for name in defined_names(cell.source)}


def is_exported(source: str) -> bool:
    """Tell whether nbdev writes this cell into the package."""
    return bool(re.match(r"\s*#\s*\|\s*exports?\b", source))


def shown_cells(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without hidden cells and without nbdev's directives."""
    notebook = notebook.copy()
    hidden = re.compile(r"^\s*#\s*\|\s*(hide\b|default_exp)", re.MULTILINE)
    notebook.cells = [cell.copy() for cell in notebook.cells if not (cell.cell_type == "code" and hidden.search(cell.source))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tags = ["exported"] if is_exported(cell.source) else []
            cell.metadata = nbformat.NotebookNode(tags=tags)
            cell.source = re.sub(r"^\s*#\s*\|.*\n?", "", cell.source, flags=re.MULTILINE).strip("\n")
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    return notebook


def link_names(body: str, names: dict[str, str], here: str) -> str:
    """Turn `name` in backticks into a link to its definition."""
    up = "../" * here.count("/")

    def link(match: re.Match[str]) -> str:
        name = match[1].removesuffix("()")
        return f'<a href="{up}{names[name]}">{match[0]}</a>' if name in names else match[0]

    parts = re.split(r"(<pre.*?</pre>|<a .*?</a>)", body, flags=re.DOTALL)
    return "".join(part if part.startswith(("<pre", "<a ")) else re.sub(r"<code>([\w()]+)</code>", link, part) for part in parts)


def link_files(body: str, source: Path, out: Path, known: set[str], repository: str) -> str:
    """Point relative links at pages of the site where there is one, else at the repository; bring pictures along."""
    here = source.parent

    def rewrite(match: re.Match[str]) -> str:
        attribute, target, anchor = match[1], match[2], match[3] or ""
        file = Path(os.path.normpath(here / target))
        inside = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
        page = inside.removeprefix("nbs/").removesuffix(".ipynb") + ".html" if inside.endswith(".ipynb") else ""
        up = "../" * len(here.relative_to(NBS).parts) if here.is_relative_to(NBS) else ""
        if page in known:
            return f'{attribute}="{up}{page}{anchor}"'
        if inside == "README.md":
            return f'{attribute}="{up}index.html{anchor}"'
        if attribute == "src" and file.is_file():
            (out / "files").mkdir(exist_ok=True)
            shutil.copy(file, out / "files" / file.name)
            return f'{attribute}="{up}files/{file.name}"'
        return f'{attribute}="{repository}/{inside}{anchor}"'

    return re.sub(r'\b(href|src)="(?![a-z]+:|#|//)([^"#]+)(#[^"]*)?"', rewrite, body)


def frame(title: str, body: str, pages: list[Page], here: str) -> str:
    """A whole page: the list of notebooks beside the text."""
    up, parts, floor = "../" * here.count("/"), [], ""
    for page in pages:
        if page.floor != floor:
            floor = page.floor
            parts.append(f"<b>{html.escape(floor)}</b>")
        parts.append(f'<a {"class=here " if page.address == here else ""}href="{up}{page.address}">{html.escape(page.title)}</a>')
    first = "class=here " if here == "index.html" else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="{up}style.css"></head><body>'
        f'<aside><a {first}href="{up}index.html">crypto_rti</a>{"".join(parts)}</aside>\n<main>\n{body}\n</main></body></html>\n'
    )


def steps(pages: list[Page], number: int) -> str:
    """The links to the notebook before and the one after."""
    up = "../" * pages[number].address.count("/")
    before, after = pages[number - 1] if number else None, pages[number + 1] if number + 1 < len(pages) else None
    left = f'<a href="{up}{before.address}">← {html.escape(before.title)}</a>' if before else f'<a href="{up}index.html">← crypto_rti</a>'
    right = f'<a href="{up}{after.address}">{html.escape(after.title)} →</a>' if after else ""
    return f"<nav><span>{left}</span><span>{right}</span></nav>"


def contents(pages: list[Page]) -> str:
    """The table of contents: each notebook with its promise."""
    rows = "".join(
        f'<tr><td><a href="{page.address}">{html.escape(page.title)}</a><br><span class="file">{page.path.relative_to(NBS).with_suffix("")}</span></td>'
        f"<td>{inline(page.promise)}</td></tr>"
        for page in pages
    )
    return f'<h2 id="notebooks">The notebooks, in order</h2><table class="contents">{rows}</table>'


def inline(text: str) -> str:
    """One line of Markdown as HTML, without its paragraph."""
    return re.sub(r"^<p>|</p>$", "", markdown2html_mistune(text).strip())


def write_site(out: Path) -> list[Page]:
    """Write the whole site and return its pages."""
    project = ConfigParser(delimiters=["="])
    project.read(ROOT / "settings.ini", encoding="utf-8")
    repository = f"{project['DEFAULT']['git_url']}/blob/{project['DEFAULT']['branch']}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    (out / "style.css").write_text(f"{STYLE}{colours}\n.highlight {{ background: none; }}\n", encoding="utf-8")
    pages = read_pages()
    known, names = {page.address for page in pages}, index_names(pages)
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_filter("clean_html", lambda text: text)  # it cleans what Pygments has just written, for half of the time that all of this takes
    for number, page in enumerate(pages):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pictures without alternative text; the prose beside them tells
            body, _ = exporter.from_notebook_node(shown_cells(page.notebook))
        body = link_names(link_files(body, page.path, out, known, repository), names, page.address)
        target = out / page.address
        target.parent.mkdir(exist_ok=True)
        target.write_text(frame(f"{page.title} - crypto_rti", body + steps(pages, number), pages, page.address), encoding="utf-8")
    readme = link_files(markdown2html_mistune((ROOT / "README.md").read_text(encoding="utf-8")), ROOT / "README.md", out, known, repository)
    front = link_names(readme, names, "index.html") + contents(pages)
    (out / "index.html").write_text(frame("crypto_rti", front, pages, "index.html"), encoding="utf-8")
    return pages


if __name__ == "__main__":
    folder = ROOT / (sys.argv[1] if len(sys.argv) > 1 else "_docs")
    print(f"{len(write_site(folder))} notebooks rendered; open {folder.name}/index.html")

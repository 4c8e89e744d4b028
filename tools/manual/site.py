"""MkDocs' hooks: the README is the first page, and files that pages link to are part of the site.

On a page a link leads where it leads in the repository (`../benchmarks/RESULTS.md`), so that the
pages can be read there too. In the site such a file lies below `repository/`: Markdown as a page,
anything else as it is.
"""

from __future__ import annotations

import html
import os
import pathlib
import posixpath
import re
from typing import Any

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
DOCS = "docs"
BELOW = "repository"
BARS = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
# Code within a line, as HTML (blocks have an empty <span> before it); where an option begins in it.
INLINE = re.compile(r"(?<!</span>)<code>([^<]*)</code>")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z]+")
README, FIRST_PAGE = "README.md", "index.md"
# The target of a link or picture, without scheme; its anchor.
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")


def on_files(files: Any, config: Any) -> Any:
    """Add the README, and the files outside of docs/ that pages name."""
    waiting = [f"{DOCS}/{page.src_uri}" for page in files.documentation_pages()]
    known = set(waiting)
    outside = [README]
    while outside or waiting:
        if outside:
            name = outside.pop()
            known.add(name)
            files.append(File.generated(config, in_site(name), abs_src_path=os.fspath(ROOT / name)))
            waiting += [name] if name.endswith(".md") else []
            continue
        page = waiting.pop()
        for match in LINK.finditer((ROOT / page).read_text(encoding="utf-8")):
            name = meant(page, match[1])
            if not name.startswith(f"{DOCS}/") and (ROOT / name).is_file() and name not in known:
                known.add(name)
                outside.append(name)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Have links lead to where their files lie in the site."""
    del config, files
    here = page.file.src_uri

    def replaced(match: re.Match[str]) -> str:
        name = meant(in_repository(here), match[1])
        if not (ROOT / name).is_file():
            return match[0]
        return posixpath.relpath(in_site(name), posixpath.dirname(here)) + (match[2] or "")

    markdown = BARS.sub(with_bars, markdown)
    return LINK.sub(replaced, markdown)


def on_page_content(text: str, page: Any, config: Any, files: Any) -> str:
    """Keep an option's dashes and its first word in one line, where a browser would part them."""
    del page, config, files

    def kept(code: re.Match[str]) -> str:
        return OPTION.sub(r'<span class="nst-option">\g<0></span>', code[0])

    return INLINE.sub(kept, text)


def with_bars(code: re.Match[str]) -> str:
    """Code in a table whose bars have a backslash, which Python-Markdown would show."""
    text = html.escape(code[1], quote=False).replace("\\|", "&#124;")
    return f"<code>{text}</code>"


def meant(page: str, link: str) -> str:
    """The path in the repository that a link on a page of the repository means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def in_site(name: str) -> str:
    """Where a file of the repository lies in the site."""
    if name == README:
        return FIRST_PAGE
    inside = name.removeprefix(f"{DOCS}/")
    return inside if inside != name else f"{BELOW}/{name}"


def in_repository(page: str) -> str:
    """Where a page of the site lies in the repository."""
    if page == FIRST_PAGE:
        return README
    outside = page.removeprefix(f"{BELOW}/")
    return outside if outside != page else f"{DOCS}/{page}"

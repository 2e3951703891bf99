"""Template files as Jinja reads them: e-mail files cut into their parts, HTML with its CSS inlined once.

Mail clients drop style sheets, so each element must carry its own ``style``. Doing that per message would cost more
than everything else, so it is done to the template, before Jinja compiles it.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import css_inline
from jinja2 import BaseLoader, Environment, TemplateNotFound, TemplateSyntaxError

LAYOUT = "_layout/email.html"
HEADERS = ("subject", "preheader")

_STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
_NO_COMMENT_HERE = re.compile(r"<[A-Za-z/!][^<>]*$|<title>[^<]*$")
_ENDS = frozenset({"variable_end", "block_end", "comment_end", "raw_end"})


class Files(BaseLoader):
    """Loads ``NAME/email.en.txt#subject`` and the like from a folder; a changed file is compiled anew.

    ``inline`` is False where only errors are looked for: inlined HTML may have other line numbers.
    """

    def __init__(self, folder: Path, *, inline: bool = True) -> None:
        self.folder = folder
        self.inline = inline

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Source, file path, and whether that still holds. Raises TemplateNotFound where there is no such file."""
        name, _, part = template.partition("#")
        path = self._path(name, template)
        stamps = self._stamps(path)
        source = path.read_text(encoding="utf-8")
        if part:
            source = cut(source, part, name=template, filename=str(path))
        if name.endswith(".html") and name != LAYOUT:
            source = f'{{% extends "{LAYOUT}" %}}{{% block body %}}{source}{{% endblock %}}'
        if name.endswith(".html") and self.inline:
            source = inlined(environment, source, self._css(), whole=name == LAYOUT, name=template, filename=str(path))
        return source, str(path), lambda: self._stamps(path) == stamps

    def _path(self, name: str, template: str) -> Path:
        parts = PurePosixPath(name).parts
        path = self.folder.joinpath(*parts)
        if ".." in parts or PurePosixPath(name).is_absolute() or not path.is_file():
            raise TemplateNotFound(template)
        return path

    def _stamps(self, path: Path) -> tuple[int, ...]:
        files = (path, self.folder / LAYOUT) if path.suffix == ".html" else (path,)
        return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)

    def _css(self) -> str:
        layout = self.folder / LAYOUT
        return "\n".join(_STYLE.findall(layout.read_text(encoding="utf-8"))) if layout.is_file() else ""


def cut(source: str, part: str, *, name: str, filename: str) -> str:
    """Take ``subject``, ``preheader`` or ``text`` out of an e-mail file, at its own line, so that errors name the line.

    The file starts with ``Subject: ...`` and perhaps ``Preheader: ...``, then an empty line, then the text.
    Raises TemplateSyntaxError where that is not so.
    """
    lines = source.split("\n")
    end = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    headers: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines[:end]):
        key, colon, value = line.partition(":")
        if not colon or key.strip().lower() not in HEADERS:
            raise TemplateSyntaxError(
                "an e-mail starts with 'Subject: ...', perhaps 'Preheader: ...', and an empty line",
                number + 1,
                name,
                filename,
            )
        headers[key.strip().lower()] = (number, value.strip())
    if "subject" not in headers:
        raise TemplateSyntaxError("the first line must be 'Subject: ...'", 1, name, filename)
    if part == "text":
        return "\n" * (end + 1) + "\n".join(lines[end + 1 :])
    number, value = headers.get(part, (0, ""))
    return "\n" * number + value


def inlined(environment: Environment, source: str, css: str, *, whole: bool, name: str = "", filename: str = "") -> str:
    """Give each element of Jinja HTML its style; at-rules (media queries) stay in the head. Nothing is fetched.

    ``whole``: a document with its own style element, else a fragment styled by ``css``.
    Jinja's own pieces are hidden from the HTML parser: a tag between table rows would be moved, ``<`` be escaped.
    Raises TemplateSyntaxError for a piece between attributes, where a parser may change their order.
    """
    shown, pieces = _hidden(environment, source)
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False, keep_at_rules=True)
    styled = inliner.inline(shown) if whole else inliner.inline_fragment(shown, css)
    for mark, (line, piece) in pieces.items():
        if f'{mark}=""' in styled:
            raise TemplateSyntaxError("inside a tag, Jinja may stand in a quoted value only", line, name, filename)
        styled = styled.replace(f"<!--{mark}-->", piece).replace(mark, piece)
    return styled


def _hidden(environment: Environment, source: str) -> tuple[str, dict[str, tuple[int, str]]]:
    """Put a comment for each Jinja piece, or a plain word inside a tag: an HTML parser leaves both where they are."""
    shown = tail = ""
    pieces: dict[str, tuple[int, str]] = {}
    for line, is_data, text in parts_of(environment, source):
        if is_data:
            shown, tail = shown + text, text if ">" in text or "<" in text else tail + text
            continue
        mark = f"jinja{len(pieces):06d}piece"
        pieces[mark] = (line, text)
        shown += mark if _NO_COMMENT_HERE.search(tail) else f"<!--{mark}-->"
    return shown, pieces


def parts_of(environment: Environment, source: str) -> Iterator[tuple[int, bool, str]]:
    """Cut a template into (line, is it text?, source); a whole ``{{ }}``, ``{% %}`` or ``{# #}`` is one piece."""
    piece = ""
    for line, kind, value in environment.lexer.tokeniter(source, None):
        if kind == "data":
            if piece:
                yield line, False, piece
            yield line, True, value
            piece = ""
            continue
        piece += value
        if kind in _ENDS:
            yield line, False, piece
            piece = ""

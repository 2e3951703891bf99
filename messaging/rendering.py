"""From template and context to what the customer reads: one file a template, channel and language.

``NAME/sms.en.txt``, ``NAME/voice.en.txt`` and ``NAME/email.en.txt`` hold the words; ``NAME/email.en.html`` is there
only where the HTML part should differ. ``_layout/`` frames them all: who we are, how to reach us, how to stop.
"""

import hashlib
import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from markupsafe import Markup, escape

from messaging.context import sample_context
from messaging.formats import END_ISOLATE, FILTERS, ISOLATE, Formats, apart, is_rtl, locale_of, zone_of
from messaging.publishing import Files
from messaging.values import clean, frozen
from models.places import closest
from models.vocabulary import Channel

TEMPLATE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
FILE_NAME = re.compile(r"(sms|voice|email)\.([A-Za-z0-9-]+)\.(txt|html)")
SUBJECT_LIMIT = 200
QUOTED = re.compile(r"'([^']*)'")
ISOLATED = re.compile(f"{ISOLATE}([^{ISOLATE}{END_ISOLATE}]*){END_ISOLATE}")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a template. ``line`` counts from 1; 0 means the file as a whole."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


class RenderingError(Exception):
    """A template could not be filled; ``problem`` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class Rendered:
    """A message as the customer gets it. ``subject`` and ``html`` are empty but for e-mail.

    ``text`` is the SMS, the words to be spoken, or the plain part of the e-mail; ``language`` is the text's own.
    """

    subject: str
    text: str
    html: str
    language: str


class Templates:
    """The templates of one folder, compiled once per process; a file that changes is read anew.

    ``language`` is where the fall-back ends, ``zone`` the IANA zone where the customer's own is not known. ``keys``:
    somebody answers the keys that a called customer presses, so the call may offer them.
    """

    def __init__(self, folder: Path, *, language: str = "en", zone: str = "UTC", keys: bool = True) -> None:
        self.folder = folder
        self.language = language
        self.zone = zone
        self.keys = keys
        self._text = _environment(Files(folder), html=False)
        self._html = _environment(Files(folder), html=True)
        self._trial = _environment(Files(folder, inline=False), html=True)

    def render(
        self, template: str, channel: Channel | str, language: str | None, context: Mapping[str, Any]
    ) -> Rendered:
        """Fill a template with a context of :mod:`messaging.context`.

        Raises RenderingError with file and line: no such text, a syntax error, an unknown name, a missing value.
        """
        channel = Channel(channel)
        written = self.find(template, channel, language)
        frame = self._frame(channel, written, language, context)
        base = f"{template}/{channel.value}.{written}"
        if channel is not Channel.EMAIL:
            said = _one_line(self._fill(self._text, f"{base}.txt", frame))
            return Rendered("", self._wrapped(channel, written, frame, {"text": said}), "", written)
        page = self._parts(base, written, frame)
        text = f"{page['text']}\n\n-- \n{page['footer']}"
        return Rendered(page["subject"], text, self._page(base, frame, page), written)

    def find(self, template: str, channel: Channel, language: str | None) -> str:
        """The language in which the template is written for this reader: ``ar-EG``, then ``ar``, then the default.

        Raises RenderingError where not even the default language is there.
        """
        if not TEMPLATE_NAME.fullmatch(template):
            raise RenderingError(Problem(template, 0, "a template's name is small letters, digits and hyphens"))
        there = self._files(template).get(channel, {})
        for tag in fall_back(language, self.language):
            if tag in there:
                return there[tag]
        raise RenderingError(
            Problem(f"{template}/{channel.value}.{self.language}.txt", 0, "is missing, so nothing can be said this way")
        )

    def digest(self, templates: Collection[str]) -> str:
        """A digest of all that these templates are made of, their frames with them: SHA-256 in hexadecimal digits."""
        told = hashlib.sha256()
        for folder in [self.folder / "_layout", *(self.folder / name for name in sorted(set(templates)))]:
            for path in sorted(file for file in folder.rglob("*") if file.is_file()):
                told.update(f"{path.relative_to(self.folder)}\0{path.stat().st_size}\0".encode())
                told.update(path.read_bytes())
        return told.hexdigest()

    def channels(self, template: str) -> set[Channel]:
        """The channels for which the template has a text, in any language."""
        return set(self._files(template))

    def languages(self, template: str, channel: Channel) -> list[str]:
        """The languages in which the template is written for a channel."""
        return sorted(self._files(template).get(channel, {}).values())

    def problems(
        self,
        template: str,
        channels: Iterable[Channel | str],
        languages: Iterable[str] = (),
        *,
        subject: str | None = None,
        voucher: bool = True,
    ) -> list[Problem]:
        """All that would go wrong, found by trial renderings with everything known and with next to nothing known.

        ``subject`` is the rule's ``for_each`` (None: any name is allowed); ``voucher``: a voucher step comes before.
        ``languages`` are tried besides those that are written; ``channels`` empty means those that are there.
        """
        if not TEMPLATE_NAME.fullmatch(template) or not self._files(template):
            like = closest(template, sorted(path.name for path in self.folder.glob("[a-z0-9]*") if path.is_dir()))
            said = "there is no such template: the folder is missing or holds no text"
            return [Problem(f"{template}/", 0, f"{said}; did you mean {like}?" if like else said)]
        found: dict[Problem, None] = {}
        for channel in [Channel(name) for name in channels] or sorted(self.channels(template)):
            for language in dict.fromkeys([self.language, *self.languages(template, channel), *languages]):
                found.update(dict.fromkeys(self._trials(template, channel, language, subject, voucher)))
        return list(found)

    def _trials(
        self, template: str, channel: Channel, language: str, subject: str | None, voucher: bool
    ) -> Iterator[Problem]:
        for sparse in (False, True):
            context = sample_context(subject, language=language, sparse=sparse, voucher=voucher)
            try:
                self.render(template, channel, language, context)
            except RenderingError as error:
                yield error.problem

    def _files(self, template: str) -> dict[Channel, dict[str, str]]:
        """Channel to {lower-case tag: tag as written}; the text file is what makes a language present."""
        folder = self.folder / template
        there: dict[Channel, dict[str, str]] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            named = FILE_NAME.fullmatch(path.name)
            if named and named[3] == "txt":
                there.setdefault(Channel(named[1]), {})[named[2].lower()] = named[2]
        return there

    def _frame(
        self, channel: Channel, written: str, language: str | None, context: Mapping[str, Any]
    ) -> dict[str, Any]:
        customer = context.get("customer") or {}
        rtl = is_rtl(written)
        formats = Formats(
            locale=locale_of(written, language, customer.get("country")),
            zone=zone_of(customer.get("time_zone"), self.zone),
            isolates=rtl and channel is not Channel.VOICE,
        )
        page = {
            "language": written,
            "direction": "rtl" if rtl else "ltr",
            "side": "right" if rtl else "left",
            "channel": channel.value,
            "offers_keys": self.keys,
        }
        said_in = tuple(fall_back(written, self.language))
        return {**frozen(context, languages=said_in), "formats": formats, "page": page}

    def _wrapped(self, channel: Channel, written: str, frame: Mapping[str, Any], page: Mapping[str, Any]) -> str:
        """Put the channel's frame (who we are, how to stop) around a text."""
        layout = self.find_layout(channel.value, written)
        return _one_line(self._fill(self._text, layout, {**frame, "page": {**frame["page"], **page}}))

    def find_layout(self, name: str, written: str) -> str:
        """The frame ``_layout/NAME.LANGUAGE.txt`` for a text in that language; raises RenderingError where none is."""
        for tag in fall_back(written, self.language):
            if (self.folder / "_layout" / f"{name}.{tag}.txt").is_file():
                return f"_layout/{name}.{tag}.txt"
        raise RenderingError(Problem(f"_layout/{name}.{self.language}.txt", 0, "is missing; every message needs it"))

    def _parts(self, base: str, written: str, frame: Mapping[str, Any]) -> dict[str, Any]:
        parts = {part: self._fill(self._text, f"{base}.txt#{part}", frame) for part in ("subject", "preheader", "text")}
        footer = self._fill(self._text, self.find_layout("footer", written), frame)
        return {
            **frame["page"],
            "subject": clean(
                parts["subject"], SUBJECT_LIMIT
            ),  # invisible isolates would look like spam to mail filters
            "preheader": _one_line(parts["preheader"]),
            "text": _paragraphs(parts["text"]),
            "footer": _paragraphs(footer),
        }

    def _page(self, base: str, frame: Mapping[str, Any], page: Mapping[str, Any]) -> str:
        """The HTML part: the template's own file where there is one, else the text's paragraphs."""
        own = f"{base}.html"
        name = own if (self.folder / own).is_file() else "_layout/text.html"
        links = [link for link in (frame.get("links") or {}).values() if link]
        shown = {**page, "paragraphs": _blocks(page["text"], links), "footer": _blocks(page["footer"], links)}
        try:
            return self._fill(self._html, name, {**frame, "page": shown})
        except RenderingError:
            self._fill(self._trial, name, {**frame, "page": shown})  # raises with the line of the file as written
            raise

    def _fill(self, environment: ImmutableSandboxedEnvironment, name: str, frame: Mapping[str, Any]) -> str:
        try:
            return environment.get_template(name).render(frame).strip()
        except Exception as error:
            raise RenderingError(self._problem(error, name)) from error

    def _problem(self, error: Exception, name: str) -> Problem:
        path, line = str(self.folder / name.partition("#")[0]), 0
        if isinstance(error, TemplateSyntaxError):
            path, line = error.filename or path, error.lineno
        else:
            frames = traceback.extract_tb(error.__traceback__)
            inside = [frame for frame in frames if Path(frame.filename).is_relative_to(self.folder)]
            if inside:
                path, line = inside[-1].filename, inside[-1].lineno or 0
        said = _said(error)
        return Problem(path, line, _without_values(said, path) if isinstance(error, UndefinedError) else said)


def _without_values(said: str, path: str) -> str:
    """``said``, unless it quotes a word that the file does not have: that one is a customer's."""
    with suppress(OSError):
        source = Path(path).read_text(encoding="utf-8")
        if any(word not in source for word in QUOTED.findall(said.partition("; known are")[0])):
            return "a value of the customer is looked up here, and there is no answer for it"
    return said


def _said(error: Exception) -> str:
    """What went wrong, without the customer's values: this ends up in logs."""
    if isinstance(error, TemplateNotFound):
        return f"there is no file {error}"
    if isinstance(error, TemplateError):
        return str(error)
    return f"a value does not fit what is done with it here ({type(error).__name__})"


def fall_back(language: str | None, default: str) -> list[str]:
    """The tags to try, in small letters: ``ar-EG`` gives ``ar-eg``, ``ar`` and the default."""
    parts = (language or default).replace("_", "-").lower().split("-")
    tags = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return list(dict.fromkeys([*tags, default.lower()]))


class Unknown(StrictUndefined):
    """A name that a template uses and nobody knows; any use of it fails, and says what is known instead."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"nobody knows the name '{self._undefined_name}' here"
        if self._undefined_obj is None:
            return f"what should have '{self._undefined_name}' may be missing here; ask for it with {{% if %}} first"
        known = ", ".join(sorted(self._undefined_obj)) if isinstance(self._undefined_obj, Mapping) else ""
        return f"'{self._undefined_name}' is unknown" + (f"; known are {known}" if known else "")


def _environment(loader: BaseLoader, *, html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=html,
        undefined=Unknown,
        finalize=_present,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=-1,
        auto_reload=True,
    )
    environment.filters.update(FILTERS)
    return environment


def _present(value: Any) -> Any:
    """Nobody shall read "Hello None": a missing value that is shown is an error of the template."""
    if value is None:
        raise TemplateRuntimeError("a value that may be missing is shown here; ask for it with {% if %} first")
    return value


def _one_line(text: str) -> str:
    """Collapse white space, the non-breaking kinds included: a single one would make an SMS cost double."""
    return " ".join(text.split())


def _paragraphs(text: str) -> str:
    return re.sub(r"\n(?:[ \t]*\n)+", "\n\n", text.strip("\n")).rstrip()


def _blocks(text: str, links: Collection[str]) -> list[dict[str, Any]]:
    """Cut a text into paragraphs of HTML lines; an indented paragraph is ``boxed``."""
    return [
        {
            "boxed": block.startswith(("  ", "\t")),
            "lines": [_html_line(line.strip(), links) for line in block.split("\n")],
        }
        for block in text.split("\n\n")
    ]


def _html_line(line: str, links: Collection[str]) -> Markup:
    """Escape a line of text. One that ends with a link of ours becomes that link; no other address ever does."""
    bare = line.rstrip(END_ISOLATE)
    for link in links:
        if bare.endswith(link):
            words = bare.removesuffix(link).rstrip(f"{ISOLATE} ").rstrip(":：").rstrip()
            return Markup('<a href="{}">{}</a>').format(link, _set_apart(words or link))
    return _set_apart(line)


def _set_apart(line: str) -> Markup:
    """Escape a text; what the text sets apart is set apart in HTML too."""
    cut = ISOLATED.split(line)
    return Markup("").join(apart(piece) if place % 2 else escape(piece) for place, piece in enumerate(cut))

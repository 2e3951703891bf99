"""Reading a call script (TwiML) as the customer would hear it: https://www.twilio.com/docs/voice/twiml."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree


class ScriptError(ValueError):
    """The script is no TwiML; its text says why."""


@dataclass(frozen=True)
class Line:
    """One thing that happens on the call. ``keys`` are those a spoken menu names; ``action`` is where a key leads."""

    verb: str
    text: str = ""
    language: str = ""
    keys: tuple[str, ...] = ()
    action: str = ""
    method: str = "POST"
    attributes: dict[str, str] = field(default_factory=dict)


def heard(script: str) -> list[Line]:
    """The lines of a call in order. Raises :class:`ScriptError` for what Twilio could not parse (12100)."""
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[", "", script, flags=re.DOTALL):
        raise ScriptError("a call script may not declare a document type or entities")
    try:
        # Entities are refused above, so that the standard parser is safe here.
        root = ElementTree.fromstring(script.strip())  # noqa: S314
    except ElementTree.ParseError as wrong:
        raise ScriptError(f"the call script is not well-formed XML: {wrong}") from None
    if root.tag != "Response":
        raise ScriptError(f"a call script must be one <Response>, not <{root.tag}>")
    return list(_lines(root))


def _lines(parent: ElementTree.Element) -> Iterator[Line]:
    for verb in parent:
        attributes = dict(verb.attrib)
        text = " ".join("".join(verb.itertext()).split())
        if verb.tag == "Gather":
            yield from _lines(verb)
            keys = tuple(dict.fromkeys(str(int(digit)) for digit in re.findall(r"(?<!\d)\d(?!\d)", text)))
            action, method = attributes.get("action", ""), attributes.get("method", "POST")
            yield Line("Gather", keys=keys, action=action, method=method, attributes=attributes)
        else:
            method = attributes.get("method", "POST")
            yield Line(verb.tag, text, attributes.get("language", ""), method=method, attributes=attributes)


def menu(script: str) -> Line | None:
    """The menu of a script whose keys lead somewhere, or None."""
    try:
        return next((line for line in heard(script) if line.verb == "Gather" and line.action), None)
    except ScriptError:
        return None


def goes_on(script: str) -> Line | None:
    """The Redirect that a call comes to by itself: nothing waits before it, and nothing ends the call."""
    try:
        stops = next((line for line in heard(script) if line.verb in _STOPS), None)
    except ScriptError:
        return None
    return stops if stops is not None and stops.verb == "Redirect" and stops.text else None


_STOPS = ("Gather", "Dial", "Hangup", "Record", "Reject", "Redirect")


# Twilio names these two by ISO 639-3: https://www.twilio.com/docs/voice/twiml/say/text-speech
_TWO_LETTERS = {"arb": "ar", "cmn": "zh"}


def language_of_script(script: str) -> str:
    """The language that the first spoken line declares, as its primary subtag; empty where none does."""
    try:
        declared = next((line.language for line in heard(script) if line.language), "")
    except ScriptError:
        return ""
    primary = declared.split("-")[0].lower()
    return _TWO_LETTERS.get(primary, primary)

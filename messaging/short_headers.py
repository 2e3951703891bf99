"""Mail and forms of strangers, read by the standard library without giving them our whole time.

Its header parser takes time by the square of a header's length: a third of a megabyte of addresses costs half a minute.
"""

from email.policy import EmailPolicy

LONGEST = 2000
"""Characters of a header that are read; RFC 5322 2.1.1 has lines of 998 at most."""


class ShortHeaders(EmailPolicy):
    """The library's newest policy, but of each header only its beginning."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """Name and value of a header from its lines as they came."""
        name, value = super().header_source_parse(sourcelines)
        return name, value[:LONGEST]


SHORT = ShortHeaders()

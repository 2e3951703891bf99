"""The DNS records by which mailbox providers know our mail: SPF, DKIM, DMARC and MX. Asked of a given resolver only."""

from collections.abc import Iterator
from ipaddress import ip_address

import dns.exception
import dns.resolver

from beforehand.doctor.check import Check, look, ok, wrong
from beforehand.settings import Settings

SECONDS = 5.0


class Names:
    """A resolver at ``address`` (``ADDRESS`` or ``ADDRESS:PORT``). Raises ValueError for anything else."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":") if address.count(":") == 1 else (address, "", "")
        if address.startswith("["):
            host, _, port = address.removeprefix("[").partition("]")
            port = port.removeprefix(":")
        self._resolver = dns.resolver.Resolver(configure=False)
        self._resolver.nameservers = [str(ip_address(host))]
        self._resolver.port = int(port or 53)
        self._resolver.lifetime = SECONDS

    def ask(self, name: str, kind: str) -> list[str]:
        """The records of a name, texts put together. Raises DNSException where the resolver does not answer."""
        try:
            found = self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        if kind != "TXT":
            return [record.to_text() for record in found]
        return [b"".join(record.strings).decode("utf-8", "replace") for record in found]


def record_checks(settings: Settings, resolver: str, selector: str = "") -> Iterator[Check]:
    """Every check of the sender's domain, by ``resolver``. ``selector`` is the provider's name for its DKIM key."""
    try:
        names = Names(resolver)
    except ValueError:
        yield wrong("DNS", f"{resolver!r} is no resolver", "write ADDRESS or ADDRESS:PORT")
        return
    sender = settings.mail_from.rpartition("@")[2]
    envelope = (settings.bounce_address or settings.mail_from).rpartition("@")[2]
    try:
        yield _spf(names, envelope)
        yield _dkim(names, sender, selector)
        yield _dmarc(names, sender)
        for domain in dict.fromkeys([sender, envelope]):
            yield _mx(names, domain)
    except dns.exception.DNSException as broken:
        yield wrong("DNS", f"{resolver} does not answer ({type(broken).__name__})", "give another resolver")


def _spf(names: Names, domain: str) -> Check:
    what = f"SPF of {domain}"
    found = [text for text in names.ask(domain, "TXT") if text.lower().split(" ")[0] == "v=spf1"]
    if not found:
        return wrong(what, "there is none", "publish the TXT record that your mail provider names")
    if len(found) > 1:
        return wrong(what, f"there are {len(found)}, which counts as none", "put them together into one")
    words = found[0].lower().split()
    if "+all" in words or "all" in words:
        return wrong(what, "it lets everybody send in your name", "end it with -all or ~all")
    if not {"-all", "~all"} & {*words} and not any(word.startswith("redirect=") for word in words):
        return look(what, "it does not say what of the others", "end it with -all or ~all")
    return ok(what, found[0])


def _dkim(names: Names, domain: str, selector: str) -> Check:
    what = f"DKIM of {domain}"
    if not selector:
        return look(what, "not asked: its name is your mail provider's", "give --dkim-selector NAME")
    found = names.ask(f"{selector}._domainkey.{domain}", "TXT")
    if not found:
        return wrong(what, f"no key under {selector}", "publish the record that your mail provider names")
    marks = dict(part.strip().partition("=")[::2] for part in found[0].split(";") if part.strip())
    if not marks.get("p", "").strip():
        return wrong(what, f"the key {selector} is withdrawn", "publish the one that your mail provider signs with")
    return ok(what, f"a key is under {selector}")


def _dmarc(names: Names, domain: str) -> Check:
    what = f"DMARC of {domain}"
    found = [text for text in names.ask(f"_dmarc.{domain}", "TXT") if text.lower().startswith("v=dmarc1")]
    if len(found) != 1:
        said = f"there are {len(found)}, which counts as none" if found else "there is none"
        return wrong(what, said, f"publish one TXT record at _dmarc.{domain}; large mailbox providers ask for it")
    marks = {key.strip().lower(): value.strip() for key, value in _marks(found[0])}
    if marks.get("p", "").lower() not in ("none", "quarantine", "reject"):
        return wrong(what, "it has no policy", "add p=none, p=quarantine or p=reject")
    if marks["p"].lower() == "none":
        return look(
            what, "p=none: mail in your name by others is let through", "p=quarantine, once the reports are good"
        )
    return ok(what, found[0])


def _marks(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        key, has, value = part.partition("=")
        if has:
            yield key, value


def _mx(names: Names, domain: str) -> Check:
    found = names.ask(domain, "MX")
    if not found or found == ["0 ."]:
        do = "publish an MX record, so that answers and bounces come back"
        return wrong(f"MX of {domain}", "no mail is taken there", do)
    return ok(f"MX of {domain}", ", ".join(sorted(found)))

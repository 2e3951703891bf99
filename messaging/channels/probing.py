"""Whether the providers answer and know us, asked without sending anything: for ``beforehand doctor``."""

import smtplib
import ssl
import time
from dataclasses import dataclass

from requests.exceptions import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException

from messaging.channels.mail import MailServer
from messaging.channels.mail_wire import Said, Wire
from messaging.channels.twilio_client import Account, client_for


@dataclass(frozen=True)
class Probe:
    """What a provider answered: whether all is well, and in words what it said; never a secret."""

    well: bool
    said: str


def ask_twilio(account: Account) -> Probe:
    """Fetch the account's own resource. Blocking, up to the account's timeout."""
    try:
        found = client_for(account).api.v2010.accounts(account.sid).fetch()
    except TwilioRestException as wrong:
        return Probe(False, f"it refuses us: {wrong.status}, code {wrong.code}")
    except (TwilioException, RequestException, OSError, ValueError) as wrong:
        return Probe(False, f"it does not answer ({type(wrong).__name__})")
    if found.status != "active":
        return Probe(False, f"the account is {found.status}")
    return Probe(True, f"the account is active ({found.type})")


def ask_mail_server(server: MailServer) -> Probe:
    """Connect, EHLO, STARTTLS and log in as a mail would, then NOOP and QUIT. Blocking, up to the server's timeout."""
    wire = Wire(time.monotonic() + server.timeout)
    tls = (server.context or ssl.create_default_context()) if server.starttls else None
    try:
        wire.open(server.host, server.port, tls, server.user, server.password)
        wire.must(wire.noop(), 2)
        wire.quit()
    except Said as said:
        return Probe(False, f"at {said.phase} it says {said.code}")
    except (OSError, ValueError, smtplib.SMTPException) as broken:
        return Probe(False, f"at {wire.phase} it failed ({type(broken).__name__})")
    finally:
        wire.close()
    how = ("over TLS" if tls else "without TLS") + (", logged in" if server.user else ", without a login")
    return Probe(True, f"{server.host}:{server.port} takes mail, {how}")

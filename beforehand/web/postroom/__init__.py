"""The post room: a mail server and a Twilio-compatible API that keep every message on this machine, and show it.

``PostRoom`` is for tests and for a supervisor, ``run`` and ``serve`` go by the settings.
"""

from beforehand.web.postroom.entries import Entry
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.house import Pace
from beforehand.web.postroom.ledger import Ledger
from beforehand.web.postroom.server import PostRoom, from_settings, run, serve

__all__ = ["Entry", "Fault", "Ledger", "Pace", "PostRoom", "from_settings", "run", "serve"]

"""What we hold about one person: handed out as JSON, or gone for good."""

from beforehand.people.export import export
from beforehand.people.forget import Forgotten, OnTheWire, forget
from beforehand.people.held import Held, held

__all__ = ["Forgotten", "Held", "OnTheWire", "export", "forget", "held"]

"""The heartbeat: what must happen every second or few, whether or not the Prefect server is up (DESIGN section 7)."""

from beforehand.heartbeat.beats import Beat, Heartbeat
from beforehand.heartbeat.book import RuleBook

__all__ = ["Beat", "Heartbeat", "RuleBook"]

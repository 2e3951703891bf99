"""How often one link may be used: counted in memory, process by process."""

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from threading import Lock

REMEMBERED = 10_000


class Limit:
    """At most ``most`` uses of one key within ``span``; the keys used longest ago are forgotten first."""

    def __init__(self, most: int, span: timedelta) -> None:
        self.most, self.span = most, span
        self._used: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._lock = Lock()

    def allows(self, key: str, now: datetime) -> bool:
        """Count one more use, and say whether it is within the limit."""
        with self._lock:
            used = self._used.setdefault(key, deque())
            self._used.move_to_end(key)
            while used and used[0] <= now - self.span:
                used.popleft()
            if len(used) >= self.most:
                return False
            used.append(now)
            if len(self._used) > REMEMBERED:
                self._used.popitem(last=False)
            return True

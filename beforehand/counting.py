"""How many there are, said with their noun."""

CHANNELS = {"sms": ("SMS", "SMS"), "voice": ("call", "calls"), "email": ("e-mail", "e-mails")}
"""What a message on a channel is called, one and many."""


def some(count: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 match``, ``1,200 matches``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"

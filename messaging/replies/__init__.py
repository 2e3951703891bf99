"""What customers say back, by text, by key and by mail: understood, written down, and acted on in one transaction."""

from messaging.replies.answers import Answer, Ours, words_for
from messaging.replies.desk import OpenReply, UnknownReply, open_replies, release, stop
from messaging.replies.hearing import Heard, hear, sender_of
from messaging.replies.understanding import Said, Understood, understand

__all__ = [
    "Answer",
    "Heard",
    "OpenReply",
    "Ours",
    "Said",
    "Understood",
    "UnknownReply",
    "hear",
    "open_replies",
    "release",
    "sender_of",
    "stop",
    "understand",
    "words_for",
]

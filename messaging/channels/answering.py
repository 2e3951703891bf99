"""TwiML for customers who write or ring us: what is said back. https://www.twilio.com/docs/messaging/twiml"""

from twilio.twiml.messaging_response import MessagingResponse
from twilio.twiml.voice_response import VoiceResponse

from messaging.channels.voice import spoken_language


def text_back(text: str | None) -> str:
    """An answer to an SMS; None: none."""
    response = MessagingResponse()
    if text:
        response.message(text)
    return str(response)


def welcome(words: str, language: str, *, connect_to: str | None = None, then: str = "") -> str:
    """Our words to who rings us, and the line to ``connect_to`` (E.164), or the end of the call.

    ``then`` is asked what to do when that line is over.
    """
    response = VoiceResponse()
    if words:
        response.say(words, language=spoken_language(language))
    if connect_to:
        response.dial(connect_to, **({"action": then, "method": "POST"} if then else {}))
    else:
        response.hangup()
    return str(response)

"""Twilio's errors, as its API says them: https://www.twilio.com/docs/api/errors."""

from dataclasses import dataclass

from fastapi.responses import JSONResponse


@dataclass
class TwilioError(Exception):
    """A refusal: Twilio's code, its sentence, and the HTTP status."""

    code: int
    message: str
    status: int = 400

    def response(self) -> JSONResponse:
        """The answer as Twilio words it."""
        more_info = f"https://www.twilio.com/docs/errors/{self.code}"
        body = {"code": self.code, "message": self.message, "more_info": more_info, "status": self.status}
        headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if self.status == 401 else None
        return JSONResponse(body, status_code=self.status, headers=headers)


def bad_auth() -> TwilioError:
    """20003: not the configured account and token."""
    return TwilioError(20003, "Authenticate", 401)


def not_found(path: str) -> TwilioError:
    """20404: nothing at that path."""
    return TwilioError(20404, f"The requested resource {path} was not found", 404)


# Twilio's own magic numbers, which it offers for tests: https://www.twilio.com/docs/iam/test-credentials
MAGIC_TO = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: {}"),
    "+15005550002": (21612, "The 'To' phone number {} is not currently reachable via SMS"),
    "+15005550003": (
        21408,
        "Permission to send an SMS has not been enabled for the region indicated by the 'To' number",
    ),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}
MAGIC_FROM = {
    "+15005550001": (21212, "Invalid 'From' number {}"),
    "+15005550007": (21606, "The 'From' phone number {} is not a valid, SMS-capable Twilio number"),
    "+15005550008": (21611, "This 'From' number {} has exceeded the maximum number of queued messages"),
}

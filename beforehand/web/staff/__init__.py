"""The pages for staff and machines: on this machine only, in every process, with no login."""

from beforehand.web.staff.app import create_staff_app
from beforehand.web.staff.serving import StaffPages

__all__ = ["StaffPages", "create_staff_app"]

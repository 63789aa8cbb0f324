"""The error of a method's call that succeeded, although the gateway cannot show its answer."""

from __future__ import annotations

from google.rpc import error_details_pb2, status_pb2

from lro_gateway.errors import StatusError, shown_name, unexpected_error
from lro_gateway.service.catalog import Offer
from lro_gateway.service.starting import Started


class UnshownError(StatusError):
    """A call of a method succeeded, and the gateway cannot show the answer.

    It has the code and the reason of the error that prevented that. `operation` is the name of the
    operation that has begun, or empty for a plain method. `request_id` is the id that the gateway
    put into the request, or empty.
    """

    def __init__(self, cause: StatusError, started: Started) -> None:
        self.operation = started.operation.name if started.operation is not None else ""
        self.request_id = started.request_id or ""
        self.is_long_running = started.operation is not None
        status = status_pb2.Status()
        status.CopyFrom(cause.status)
        done = (
            f"operation {shown_name(self.operation)} has begun"
            if self.operation
            else "the call succeeded"
        )
        status.message = f"{done}, but its answer cannot be shown: {cause.message}"
        # The first detail of each error that the gateway makes is an ErrorInfo.
        info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
        for key, value in (("operation", self.operation), ("request_id", self.request_id)):
            if value:
                info.metadata[key] = value
        status.details[0].Pack(info)
        super().__init__(status, backend=cause.backend)

    def advice(self, *, read: str, again: str) -> str:
        """Return the next step. `read` tells how to read the operation, `again` what not to do."""
        look = read if self.is_long_running else "Read the current state"
        return f"{look}. Do not {again}, because that would do the work twice."


def unshown(offer: Offer, started: Started, error: Exception) -> Exception:
    """Return the error for a call that succeeded, after its answer could not be made.

    A call that only reads can be repeated, so its error stays as it is. The cause of any other
    error is logged, unless it is a `StatusError`.
    """
    if started.operation is None and offer.hints.reads:
        return error
    if not isinstance(error, StatusError):
        error = unexpected_error(f"the answer of {offer.method.path}", error)
    return UnshownError(error, started)

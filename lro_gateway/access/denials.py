"""The errors of refused actions. They tell nothing of the rules, which may name what others use."""

from __future__ import annotations

from lro_gateway.access.policy import Action, ExplainAction, ListAction, MethodAction
from lro_gateway.errors import Code, StatusError, quote, status_error


class DeniedError(StatusError):
    """A refusal of the policy. `rule` is the label of the rule that decided, or empty."""

    def __init__(self, cause: StatusError, rule: str) -> None:
        super().__init__(cause.status, backend=cause.backend)
        self.rule = rule


def hidden(action: Action) -> StatusError:
    """Return the error for a thing that is hidden from the caller. It is that for a missing one."""
    match action:
        case MethodAction():
            path = action.method.path
            return status_error(
                Code.NOT_FOUND,
                f"there is no method {quote(path)}",
                "UNKNOWN_METHOD",
                metadata={"method": path},
            )
        case ListAction():
            of = f" of {quote(action.parent)}" if action.parent else ""
            return status_error(
                Code.NOT_FOUND,
                f"there are no operations{of}",
                "NO_SUCH_PARENT",
                metadata={"name": action.parent},
            )
        case ExplainAction():
            return status_error(
                Code.NOT_FOUND, "there is no explanation of the policy", "NO_EXPLANATION"
            )
        case _:
            return status_error(
                Code.NOT_FOUND,
                f"there is no operation {quote(action.name)}",
                "NO_SUCH_OPERATION",
                metadata={"name": action.name},
            )


def read_only(action: Action) -> StatusError:
    """Return the error for a change by a gateway that only reads."""
    return status_error(
        Code.PERMISSION_DENIED,
        f"this gateway does not {_words(action)}, because server.read_only is true",
        "READ_ONLY",
        metadata={"verb": action.verb.value},
    )


def denied(action: Action) -> StatusError:
    """Return the error for a call that the policy denies, on a thing that the caller may see."""
    return status_error(
        Code.PERMISSION_DENIED,
        f"the policy does not allow you to {_words(action)}; ask the operator of the gateway",
        "POLICY_DENIED",
        metadata={"verb": action.verb.value},
    )


def insufficient_scope(action: Action, scopes: frozenset[str]) -> StatusError:
    """Return the error for a caller whose credentials lack scopes. It has all scopes to ask for."""
    needed = " ".join(sorted(scopes))
    return status_error(
        Code.PERMISSION_DENIED,
        f"your credentials lack a scope that you need to {_words(action)}: {needed}",
        "INSUFFICIENT_SCOPE",
        metadata={"scopes": needed, "verb": action.verb.value},
    )


def _words(action: Action) -> str:
    match action:
        case MethodAction():
            return f"{action.verb.value} {action.method.path}"
        case ListAction():
            return "list operations" + (f" of {quote(action.parent)}" if action.parent else "")
        case ExplainAction():
            return "ask which rule decides"
        case _:
            verb = "wait for" if action.verb.value == "wait" else action.verb.value
            return f"{verb} operation {quote(action.name)}"

"""Explains at the terminal which rule of a configuration decides on a call, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lro_gateway.access.policy import Verb
from lro_gateway.commands.json_input import json_of
from lro_gateway.config.backends import offer_rules
from lro_gateway.config.models import GatewayConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.errors import quote
from lro_gateway.gateway import Gateway
from lro_gateway.service.explaining import (
    APPROVAL,
    CONFIRMATION,
    Answer,
    Question,
    explain,
    supposed,
)

_NEEDS: Final = {
    CONFIRMATION: "a person must then agree to the call, because `confirm` lists its RPC",
    APPROVAL: "the call then waits until somebody approves it, because `approval` lists its method",
}
_VERBS: Final = tuple(verb.value for verb in Verb)


@dataclass(frozen=True, slots=True)
class AsOptions:
    """The options and arguments of `check --as`."""

    who: str
    issuer: str = ""
    scopes: str = ""
    groups: str = ""
    client: str = ""
    args: str = ""
    words: Sequence[str] = ()

    @property
    def first_given(self) -> str:
        """The first of the words and options that are only for `--as`, or an empty text."""
        options = {
            "--issuer": self.issuer,
            "--scopes": self.scopes,
            "--groups": self.groups,
            "--client": self.client,
            "--args": self.args,
        }
        return next(iter([*self.words, *(name for name, value in options.items() if value)]), "")


def split_backends(given: Sequence[str] | None) -> tuple[list[str], str]:
    """Return the targets among the values of `--backend`, and the last one that is a mere name."""
    values = list(given or ())
    names = [each for each in values if ":" not in each and "=" not in each]
    return [each for each in values if each not in names], names[-1] if names else ""


def question_of(options: AsOptions, backend: str) -> Question:
    """Return the question that the options ask. Raises `ValueError` for a mistake in them."""
    subject, _, tenant = (
        options.who.rpartition("@") if "@" in options.who else (options.who, "", "")
    )
    caller = supposed(
        subject,
        options.issuer,
        tenant,
        options.client,
        groups=_words(options.groups),
        scopes=_words(options.scopes),
    )
    if not options.words or options.words[0] not in _VERBS:
        raise ValueError(f"--as needs a verb: {', '.join(_VERBS)}")
    if len(options.words) > 2:
        raise ValueError(f"there is one name too many: {quote(options.words[2])}")
    verb = Verb(options.words[0])
    target = options.words[1] if len(options.words) > 1 else ""
    if not target and verb not in {Verb.LIST, Verb.EXPLAIN}:
        raise ValueError(f"{verb.value} needs the name of an operation or of a method")
    return Question(caller, verb, target, backend, _arguments(options.args))


async def explained(settings: GatewayConfig, question: Question) -> list[Answer]:
    """Return the explanations. Raises `StatusError` if there is no such backend or method."""
    # A gateway that runs may hold the lock of the store, and an explanation does not need it. But
    # a gateway without a store refuses settings of approvals.
    backends = tuple(each.model_copy(update={"approval": ()}) for each in settings.backends)
    without = settings.model_copy(update={"store": StoreConfig(), "backends": backends})
    async with Gateway.open(without) as gateway:
        rules = offer_rules(settings.backends)
        return await explain(gateway.service, None, question, rules.__getitem__)


def explained_lines(who: str, question: Question, answers: Sequence[Answer]) -> Iterator[str]:
    """Yield the lines that tell the decision for each backend. `who` names the caller."""
    for answer in answers:
        found = answer.explanation
        may = "may" if found.allowed else "may not"
        on = f" on {answer.backend}" if answer.backend else ""
        yield f"{who} {may} {question.verb.value} {answer.name}".rstrip() + on
        for step in found.steps:
            yield f"  {step.rule}: {step.because}"
        if not found.rule:
            none = "there are no rules, so everything is allowed"
            yield f"  {none if found.allowed else 'no rule matches, so the answer is no'}"
        yield from (f"  {_NEEDS[each]}" for each in answer.needs)
        if found.scopes and not found.allowed:
            yield f"  with the scopes {' '.join(sorted(found.scopes))} the answer would be yes"


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _arguments(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json_of(text)
    except ValueError as error:
        raise ValueError(f"--args is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("--args needs a JSON object")  # noqa: TRY004 - as the other mistakes
    return value

"""Webhooks at a command line, with a gateway that identifies its callers and a real receiver."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from standardwebhooks import Webhook

from lro_gateway.deliveries.signing import new_secret
from tests.commands.stage import Ended, Stage
from tests.deliveries.receiver import Receiver, answering, receiving
from tests.rest.test_webhooks import served

METHOD: Final = "lro_gateway.demo.v1.DatabaseAdmin/CreateDatabase"
SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=]+")
TOLD: Final = "The secret is shown only now. Give it to the receiver.\n"


@dataclass
class Desk:
    """A person with a token at a command line, and a client that starts operations for her."""

    client: httpx.AsyncClient
    stage: Stage

    async def pipes(self, *words: str) -> Ended:
        """Run a command with pipes."""
        return await self.stage.run("webhooks", *words, **self._token)

    async def types(self, *words: str, columns: int = 80) -> Ended:
        """Run a command in a terminal."""
        return await self.stage.type("webhooks", *words, columns=columns, **self._token)

    async def values(self, *words: str) -> list[str]:
        """Return the lines of a command that succeeds."""
        ended = await self.pipes(*words)
        assert ended.status == 0, ended.stderr
        return ended.stdout.splitlines()

    async def completed(self, words: str) -> list[str]:
        """Return what bash would offer after these words."""
        ended = await self.stage.run(
            _LRO_GATEWAY_COMPLETE="complete_bash",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
            **self._token,
        )
        return ended.stdout.split()

    async def start(self, database: str = "one") -> str:
        """Start an operation, and return its name."""
        answer = await self.client.post("/v1/databases", json={"databaseId": database})
        return str(answer.json()["name"])

    @property
    def _token(self) -> dict[str, str]:
        return {"LRO_GATEWAY_TOKEN": self.client.headers["authorization"].split()[1]}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Serve a gateway, and sit down at a command line."""
    async with served(tmp_path) as clients:
        alice = clients["alice"]
        yield Desk(alice, Stage(Any, Any, str(alice.base_url), ""))  # type: ignore[arg-type]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that takes everything."""
    async with receiving(answering(200)) as running:
        yield running


async def test_a_webhook_is_made_and_its_secret_is_shown_once(
    desk: Desk, receiver: Receiver
) -> None:
    """The secret verifies what arrives. No other command prints it."""
    assert await desk.pipes("list") == Ended(0, "", "no webhooks\n")
    made = await desk.pipes("create", receiver.url, "--method", "CreateDatabase")
    (secret,) = SECRET.findall(made.stdout)
    assert (made.status, made.stderr) == (0, TOLD)
    rows = dict(re.split(r"\s\s+", line, maxsplit=1) for line in made.stdout.splitlines())
    id_ = rows["Webhook"]
    assert {key: rows[key] for key in ("URL", "Events", "Selects", "State")} == {
        "URL": receiver.url,
        "Events": "operation.done",
        "Selects": f"method {METHOD}",
        "State": "active",
    }
    name = await desk.start()
    (received,) = await receiver.after(1)
    assert Webhook(secret).verify(received.body, received.headers)["data"]["operation"] == name
    for words in (("list",), ("describe", id_), ("deliveries", id_)):
        for form in ("table", "json", "yaml"):
            assert SECRET.search("\n".join(await desk.values(*words, "--format", form))) is None
    (rotated,) = await desk.values("rotate-secret", id_[:-2])
    assert rotated != secret
    await desk.start("two")
    _, received = await receiver.after(2)
    for each in (secret, rotated):
        assert Webhook(each).verify(received.body, received.headers)["name"] == "operation.done"


async def test_a_script_gives_the_secret_and_everything_that_selects(
    desk: Desk, receiver: Receiver, tmp_path: Path
) -> None:
    """Each option is a field of the request."""
    secret = new_secret()
    (tmp_path / "secret").write_text(f"{secret}\n")
    name = await desk.start()
    options = (
        *("--event", "operation.progress", "--event", "operation.done", "--cloudevents"),
        *("--operation", name.rpartition("/")[2][:12], "--state", "failed", "--mine"),
        *("--backend", "demo", "--secret-file", str(tmp_path / "secret")),
    )
    paths = "secret,events,format,operation,states,mine,backend"
    (line,) = await desk.values("create", receiver.url, *options, "--format", f"value({paths})")
    assert line.split("\t") == [
        *(secret, '["operation.progress", "operation.done"]', "cloudevents"),
        *(name, '["failed"]', "true", "demo"),
    ]


async def test_what_failed_is_shown_and_sent_again(desk: Desk, receiver: Receiver) -> None:
    """After the receiver has been mended and the webhook is enabled."""
    receiver.behavior = answering(410)
    (id_,) = await desk.values("create", receiver.url, "--format", "value(id)")
    name = await desk.start()
    await receiver.after(1)
    while not (await desk.values("deliveries", id_, "--state", "dead", "--format", "value(id)")):
        pass  # The answer is not recorded yet.
    described = "\n".join(await desk.values("describe", id_))
    assert "the receiver answered 410 Gone" in described
    assert re.search(r"^State +disabled$", described, re.MULTILINE)
    header, row = await desk.values("deliveries", id_)
    titles = ["ID", "STATE", "EVENT", "OPERATION", "ATTEMPTS", "WHEN", "HTTP", "ERROR"]
    assert header.split() == titles
    delivery, *cells = re.split(r"\s\s+", row)
    assert (cells[:4], cells[5:]) == (["dead", "operation.done", name, "1"], ["410", "http_4xx"])
    early = await desk.pipes("redeliver", id_, delivery)
    assert f"{id_} is disabled, so nothing is sent: `lro-gateway webhooks enable" in early.stderr
    receiver.behavior = answering(200)
    assert (await desk.pipes("enable", id_)).stderr == f"{id_} is active\n"
    again = await desk.values("redeliver", id_, delivery[:-1], "--format", "value(id)")
    assert again == [delivery]
    await receiver.after(2)
    while await desk.values("deliveries", id_, "--format", "value(state)") != ["delivered"]:
        pass  # The answer is not recorded yet.
    nothing = await desk.pipes("redeliver", id_, "--since", "1h")
    assert (nothing.status, nothing.stdout, nothing.stderr) == (0, "", "nothing to send again\n")
    assert (await desk.pipes("disable", id_)).stderr == f"{id_} is disabled\n"
    assert (await desk.pipes("delete", id_)).stderr == f"deleted: {id_}\n"
    assert await desk.values("list", "--format", "json") == ["[]"]


async def test_a_receiver_that_wants_nothing_for_a_time_is_shown(
    desk: Desk, receiver: Receiver
) -> None:
    """With the time when the next message goes to it."""
    receiver.behavior = answering(429, Retry_After="86400")
    (id_,) = await desk.values("create", receiver.url, "--format", "value(id)")
    await desk.start()
    await receiver.after(1)
    while "Waits until" not in (described := "\n".join(await desk.values("describe", id_))):
        pass  # The answer is not recorded yet.
    assert re.search(r"^Waits until +in (24 h|23 h|1 d)", described, re.MULTILINE)


async def test_all_that_failed_are_sent_again_over_several_pages(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway answers with a page at a time."""
    monkeypatch.setattr("lro_gateway.commands.terminal.webhook_client._PAGE", 1)
    receiver.behavior = answering(413)
    (id_,) = await desk.values("create", receiver.url, "--mine", "--format", "value(id)")
    for database in ("one", "two"):
        await desk.start(database)
    dead = list[str]()
    while len(dead) < 2:
        dead = await desk.values("deliveries", id_, "--state", "dead", "--format", "value(id)")
    again = await desk.values("redeliver", id_, "--format", "value(id)")
    assert again == sorted(dead)


@pytest.mark.parametrize("columns", [50, 80, 120])
async def test_each_webhook_has_one_line_with_its_whole_id(
    desk: Desk, receiver: Receiver, columns: int
) -> None:
    """A narrow terminal has fewer columns, and a shell completes the ids."""
    url = f"{receiver.url}/{'long' * 30}"
    ids = [
        (await desk.values("create", url, "--mine", "--format", "value(id)"))[0] for _ in range(2)
    ]
    listed = await desk.types("list", columns=columns)
    lines = [line.rstrip() for line in listed.text.splitlines()]
    assert {line.split()[0] for line in lines[1:]} == {*ids}
    assert all(len(line) <= columns and line.split()[1] == "active" for line in lines[1:])
    assert sorted(await desk.completed("lro-gateway webhooks describe wh_")) == sorted(ids)
    assert await desk.completed(f"lro-gateway webhooks rotate-secret {ids[1]}") == [ids[1]]


async def test_the_mistakes_of_a_person_end_with_2_and_say_what_to_do(
    desk: Desk, receiver: Receiver
) -> None:
    """Nothing is on stdout then."""
    (id_,) = await desk.values("create", receiver.url, "--mine", "--format", "value(id)")
    shows_ids = "`lro-gateway webhooks list` shows the ids"
    for words, said in (
        (
            ("describe", "nothing"),
            f"no webhook has an id that begins or ends with 'nothing'; {shows_ids}",
        ),
        (("describe", "wh_" + "0" * 32), "NOT_FOUND: there is no such webhook"),
        (("deliveries", id_, "--state", "lost"), "there is no state 'lost'; use one of pending,"),
        (("redeliver", id_, ""), "no delivery has an id that begins or ends with ''; `lro-gateway"),
        (
            ("redeliver", id_, "0"),
            "no delivery has an id that begins or ends with '0'; `lro-gateway",
        ),
        (("redeliver", id_, "0" * 32, "--since", "1h"), "--since selects among the deliveries"),
        (
            ("create", receiver.url, "--method", "Creat"),
            "INVALID_ARGUMENT: method: 'Creat' matches",
        ),
        (("create", receiver.url, "--secret-file", "no"), "cannot read the secret file: "),
        (("create", receiver.url, "--format", "xml"), "there is no format 'xml'; use table, json"),
    ):
        ended = await desk.pipes(*words)
        assert (ended.status, ended.stdout) == (2, ""), words
        assert ended.stderr.startswith(f"lro-gateway: {said}"), ended.stderr
    assert len(await desk.values("list", "--format", "value(id)")) == 1


async def test_a_gateway_without_a_store_says_that_it_has_no_webhooks(stage: Stage) -> None:
    """And one that does not run ends with 4."""
    for words in (("list",), ("describe", "wh_" + "0" * 32), ("create", "https://a.example/")):
        ended = await stage.run("webhooks", *words)
        assert (ended.status, ended.stdout) == (2, "")
        assert "this gateway runs without a store, so it has no webhooks" in ended.stderr
    down = await stage.run("webhooks", "list", "--gateway", "http://127.0.0.1:9")
    assert (down.status, down.stdout) == (4, "")

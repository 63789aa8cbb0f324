"""The commands in front of a gateway with HTTPS."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.certificates import Authority
from tests.commands.stage import COMMAND
from tests.faces.test_connection_callers import noting


async def described(url: str, **variables: str) -> tuple[int, str, str]:
    """Describe an operation; return the status, and what was printed."""
    process = await asyncio.create_subprocess_exec(
        *(
            COMMAND,
            "operations",
            "describe",
            "//b/jobs/1",
            "--format",
            "value(name)",
            "--gateway",
            url,
        ),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode().strip(), err.decode()


async def test_the_commands_trust_an_authority_and_show_a_certificate(tmp_path: Path) -> None:
    """Variables name the files, and an error says which variable helps."""
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    tls = authority.issue("server").server_tls(client_ca=str(clients.file))
    ana = clients.issue("ana")
    both = tmp_path / "both.pem"
    both.write_bytes(ana.certificate.read_bytes() + ana.key.read_bytes())
    trusts = {"SSL_CERT_FILE": str(authority.file)}
    shows = {"LRO_GATEWAY_CERT_FILE": str(ana.certificate), "LRO_GATEWAY_KEY_FILE": str(ana.key)}
    async with noting({"certificates": {}}, tls=tls) as (server, seen):
        assert await described(server.url, **trusts, **shows) == (0, "jobs/1", "")
        whole = {"LRO_GATEWAY_CERT_FILE": str(both)}
        assert (await described(server.url, **trusts, **whole))[:2] == (0, "jobs/1")
        assert (await described(server.url, **trusts))[0] == 4
        other = {"SSL_CERT_FILE": str(clients.file)}
        status, _, error = await described(server.url, **other, **shows)
        assert (status, "CERTIFICATE_VERIFY_FAILED" in error) == (4, True)
        assert "set SSL_CERT_FILE to the authority's" in " ".join(error.split())
        wrong = {"LRO_GATEWAY_CERT_FILE": str(tmp_path / "none.pem")}
        status, _, error = await described(server.url, **trusts, **wrong)
        assert (status, "LRO_GATEWAY_KEY_FILE cannot be used: No such file" in error) == (2, True)
    assert {each.subject for each in seen} == {"ana"}

"""The clients and the command line show tokens and certificates, over TLS, and keep tokens to themselves."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from turnout import AsyncClient, Client, Security, errors
from turnout.admin.v1 import admin_service_pb2
from turnout.control import Control
from turnout.tokens import TOKEN_PREFIX, hash_of, new_token, read_identities

TURNOUT = Path(sys.prefix) / "bin" / "turnout"


def address(secured, port):
    return f"127.0.0.1:{getattr(secured.gateway, port)}"


def security(secured, role, pair="nobody"):
    """Return what a client shows: a token for a role, and where the gateway speaks TLS, a certificate."""
    token = secured.tokens.get(role, "")
    if secured.authority is None:
        return Security(token=token)
    shown = secured.pairs[pair]
    return Security(token=token, tls_ca=secured.authority.certificate, tls_cert=shown.certificate, tls_key=shown.key)


def test_the_client_shows_its_token_and_is_told_what_it_lacks(secured):
    with Client(address(secured, "data"), security=security(secured, "predict")) as client:
        with pytest.raises(errors.MissingError):  # let in: there is no such model
            client.predict("absent", unit_id="u")
        with pytest.raises(errors.ForbiddenError, match="`outcomes`") as caught:
            client.record_outcome("late", 1.0, unit_id="u")
    assert (caught.value.reason, caught.value.facts["role"]) == ("ROLE_MISSING", "outcomes")
    with (
        Client(address(secured, "data"), security=security(secured, "expired")) as client,
        pytest.raises(errors.UnknownCallerError, match="expired"),
    ):
        client.predict("absent", unit_id="u")


def test_the_asynchronous_client_does_the_same(secured):
    async def ask():
        async with AsyncClient(address(secured, "data"), security=security(secured, "predict")) as client:
            with pytest.raises(errors.MissingError):
                await client.predict("absent", unit_id="u")
            with pytest.raises(errors.ForbiddenError):
                await client.record_outcome("late", 1.0, unit_id="u")

    asyncio.run(ask())


def test_the_control_client_shows_its_token_or_its_certificate(secured):
    ask = admin_service_pb2.GetServingStatusRequest()
    with Control(address(secured, "control"), security=security(secured, "read")) as control:
        assert control.admin.GetServingStatus(ask).workers
        with pytest.raises(errors.ForbiddenError):
            control.advance_clock(1)
    if secured.authority is not None:
        with Control(address(secured, "control"), security=security(secured, "", "read")) as control:
            assert control.admin.GetServingStatus(ask).workers


def test_a_client_reads_the_environment_where_it_is_told_nothing(plain, monkeypatch, tmp_path):
    (tmp_path / "token").write_text(plain.tokens["read"] + "\n")
    monkeypatch.setenv("TURNOUT_TOKEN_FILE", str(tmp_path / "token"))
    with Control(address(plain, "control")) as control:
        assert control.admin.GetServingStatus(admin_service_pb2.GetServingStatusRequest()).workers


def test_a_token_goes_to_another_machine_over_tls_only_and_is_in_no_repr():
    token = new_token()
    assert token not in repr(Security(token=token))
    for target in ("gateway.example:8001", "10.0.0.1:8001", ["10.0.0.1:8001", "10.0.0.2:8001"]):
        with pytest.raises(ValueError, match="in clear") as caught:
            Client(target, security=Security(token=token))
        assert token not in str(caught.value)
        Client(target, security=Security(token=token, tls=True)).close()
        Client(target, security=Security(token=token, insecure=True)).close()
    for target in ("127.0.0.1:8001", "localhost:8001", "[::1]:8001", "unix:/run/x", ["127.0.0.1:1", "127.0.0.2:1"]):
        Client(target, security=Security(token=token)).close()
    for wrong in ({"token": "a", "token_file": "b"}, {"tls_cert": "a"}, {"tls_key": "a"}):
        with pytest.raises(ValueError, match=r"which of the two|together"):
            Security(**wrong)


def run(*arguments, **environment):
    """Run a command and return how it ended; nothing of this process's environment that could matter is passed on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TURNOUT_")}
    command = [TURNOUT, *map(str, arguments)]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_line_takes_the_same_as_options_and_from_the_environment(mutual_native, tmp_path):
    secured = mutual_native
    server = ("--server", address(secured, "control"))
    shown = secured.pairs["nobody"]
    trust = ("--tls-ca", secured.authority.certificate)
    pair = ("--tls-cert", shown.certificate, "--tls-key", shown.key)
    token_file = tmp_path / "token"
    token_file.write_text(secured.tokens["read"])
    done = run("status", *server, *trust, *pair, "--token-file", token_file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workers"]
    environment = {
        "TURNOUT_TLS_CA": str(secured.authority.certificate),
        "TURNOUT_TLS_CLIENT_CERT": str(shown.certificate),
        "TURNOUT_TLS_CLIENT_KEY": str(shown.key),
        "TURNOUT_SERVER": address(secured, "control"),
    }
    assert run("models", "list", TURNOUT_TOKEN=secured.tokens["read"], **environment).returncode == 0
    # An option wins over the environment, also over its other kind.
    unknown = new_token()
    wrong = run("models", "list", "--token", unknown, TURNOUT_TOKEN_FILE=str(token_file), **environment)
    assert wrong.returncode == 1
    assert "TOKEN_INVALID" in wrong.stderr
    nothing = run("models", "list", **environment)
    assert nothing.returncode == 1
    assert "CERTIFICATE_UNKNOWN" in nothing.stderr
    denied = run("models", "promote", "a", "1", TURNOUT_TOKEN=secured.tokens["read"], **environment)
    assert denied.returncode == 1
    assert "ROLE_MISSING" in denied.stderr
    said = "".join(each.stdout + each.stderr for each in (done, wrong, nothing, denied))
    assert not any(token in said for token in (unknown, secured.tokens["read"]))


def test_wrong_options_of_the_connection_are_wrong_usage(tmp_path):
    for options in (
        ("--token-file", tmp_path / "absent"),
        ("--tls-cert", tmp_path / "absent"),
        ("--tls-ca", tmp_path / "absent"),
        ("--token", "a", "--server", "gateway.example:1"),
    ):
        done = run("status", *options)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_tokens_are_made_listed_and_revoked(tmp_path):
    file = tmp_path / "tokens.json"
    made = run(
        "tokens", "create", "website", "--role", "predict", "--role", "outcomes", "--file", file, "--expires", "90d"
    )
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith(TOKEN_PREFIX)
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (website,) = read_identities(file)
    assert (website.sha256, website.roles) == (hash_of(token), ("predict", "outcomes"))
    assert website.expires is not None
    mapped = run(
        "tokens", "create", "trainer", "--role", "admin", "--certificate", "CN:trainer", TURNOUT_TOKENS=str(file)
    )
    assert mapped.returncode == 0, mapped.stderr
    assert TOKEN_PREFIX not in mapped.stdout
    listed = run("tokens", "list", "--file", file, "--json")
    assert [each["name"] for each in json.loads(listed.stdout)["identities"]] == ["website", "trainer"]
    table = run("tokens", "list", "--file", file)
    assert "website" in table.stdout
    assert token not in table.stdout + listed.stdout
    for wrong in (
        ("create", "website", "--role", "read"),
        ("create", "other", "--role", "root"),
        ("create", "other", "--role", "read", "--expires", "soon"),
        ("create", "other", "--role", "read", "--certificate", "trainer"),
        ("revoke", "nobody"),
    ):
        done = run("tokens", *wrong, "--file", file)
        assert done.returncode == 2, wrong
        assert "wrong usage" in done.stderr
    assert run("tokens", "revoke", "website", "--file", file).returncode == 0
    assert [each.name for each in read_identities(file)] == ["trainer"]
    assert run("tokens", "list", "--file", tmp_path / "absent").returncode == 2

"""Every change leaves an event: who, from where, what, and what was before and after; and nobody takes it back."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from turnout.admin.v1 import admin_service_pb2 as pb
from turnout.control import Control
from turnout.registry.v1 import registry_service_pb2
from turnout.security import Security

TURNOUT = Path(sys.prefix) / "bin" / "turnout"


def control_of(secured, role, pair="nobody", actor="somebody else"):
    """Return a connection that shows a token for a role or, without one, a certificate; it claims to be another."""
    token = secured.tokens.get(role, "")
    given = {}
    if secured.authority is not None:
        shown = secured.pairs[pair]
        given = {"tls_ca": secured.authority.certificate, "tls_cert": shown.certificate, "tls_key": shown.key}
    return Control(f"127.0.0.1:{secured.gateway.control}", actor=actor, security=Security(token=token, **given))


def create(control, model):
    control.registry.CreateModel(
        registry_service_pb2.CreateModelRequest(model_id=model, model=registry_service_pb2.Model(owner="the owner"))
    )


def events(control, **fields):
    return control.admin.ListEvents(pb.ListEventsRequest(**fields)).events


def test_a_change_is_noted_under_the_tokens_name_whatever_the_caller_says_it_is(secured):
    with control_of(secured, "admin") as control:
        create(control, "by-token")
        (event,) = events(control, resource="models/by-token")
    assert (event.kind, event.actor, event.credential) == ("model.created", "admin", "token")
    assert event.peer.startswith("ipv4:127.0.0.1:")
    assert (event.before_json, json.loads(event.after_json)) == ("", {"owner": "the owner"})


def test_a_change_is_noted_under_the_certificates_name(mutual):
    with control_of(mutual, "", "admin") as control:
        create(control, "by-certificate")
        (event,) = events(control, resource="models/by-certificate")
    assert (event.actor, event.credential) == ("admin-certificate", "certificate")


def test_who_may_not_change_anything_leaves_no_event(secured):
    with control_of(secured, "admin") as control, control_of(secured, "read") as reader:
        before = len(events(control))
        with pytest.raises(Exception, match="ROLE_MISSING"):
            create(reader, "not-made")
        assert len(events(control)) == before


def test_where_nobody_is_asked_the_callers_own_word_counts_on_this_machine(gateway):
    with Control(gateway.control_address, actor="alice@desk") as control:
        create(control, "by-word")
        (event,) = events(control, resource="models/by-word")
    assert (event.actor, event.credential) == ("alice@desk", "none")
    assert event.peer.startswith("ipv4:127.0.0.1:")


def test_the_audit_is_read_page_by_page_and_by_resource_and_time(gateway):
    with Control(gateway.control_address) as control:
        for number in range(5):
            create(control, f"paged-{number}")
        create(control, "paged")
        seen, token = [], ""
        while True:
            page = control.admin.ListEvents(pb.ListEventsRequest(page_size=2, page_token=token))
            assert len(page.events) <= 2
            seen += [event.revision for event in page.events]
            token = page.next_page_token
            if not token:
                break
        assert seen == sorted(seen, reverse=True)
        assert len(set(seen)) == len(seen) >= 6
        assert [event.resource for event in events(control, resource="models/paged")] == ["models/paged"]
        newest = events(control)[0]
        assert [event.revision for event in events(control, since_us=newest.time_us)] == [newest.revision]


def test_the_command_line_shows_who_changed_what(gateway):
    with Control(gateway.control_address, actor="bob@desk") as control:
        create(control, "shown")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TURNOUT_")}
    command = [TURNOUT, "audit", "list", "--server", gateway.control_address, "--resource", "models/shown"]
    done = subprocess.run([*command, "--json"], env=kept, capture_output=True, text=True, timeout=60, check=True)
    (event,) = json.loads(done.stdout)["events"]
    assert (event["actor"], event["after"]) == ("bob@desk", {"owner": "the owner"})
    table = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "bob@desk (none)" in table


def test_nobody_takes_an_event_back_even_with_the_database_in_hand(gateway):
    with Control(gateway.control_address) as control:
        create(control, "kept")
    database = sqlite3.connect(gateway.state / "turnout.db")
    try:
        for statement in ("DELETE FROM changes", "UPDATE changes SET actor = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
    finally:
        database.close()


LEAKS = ("Traceback", 'File "', ".py", sys.prefix, "site-packages", "sqlite", "SELECT")


def test_no_answer_to_a_provoked_failure_tells_of_the_inside(gateway):
    """The database is taken away below the services: every method that reads it fails inside."""
    stolen = gateway.state / "turnout.db"
    database = sqlite3.connect(stolen)
    database.execute("ALTER TABLE models RENAME TO gone")
    database.commit()
    said = []
    try:
        with grpc.insecure_channel(gateway.control_address) as channel:
            for path, request in (
                ("GetModel", registry_service_pb2.GetModelRequest(name="models/kept")),
                ("ListModels", registry_service_pb2.ListModelsRequest()),
                ("CreateModel", registry_service_pb2.CreateModelRequest(model_id="other")),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(f"/turnout.registry.v1.RegistryService/{path}")(
                        request.SerializeToString(), timeout=20
                    )
                said.append((caught.value.code(), caught.value.details(), str(caught.value.trailing_metadata())))
    finally:
        database.execute("ALTER TABLE gone RENAME TO models")
        database.commit()
        database.close()
    assert [code for code, _, _ in said] == [grpc.StatusCode.INTERNAL] * 3
    assert not [text for _, *texts in said for text in texts for leak in (*LEAKS, str(gateway.state)) if leak in text]
    assert "no such table" in (gateway.state / "gateway.log").read_text()

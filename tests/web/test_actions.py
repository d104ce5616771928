"""What may be done from the console, by whom, and what is refused."""

from __future__ import annotations

import re

import pytest

from turnout.admin.v1 import admin_service_pb2
from turnout.control import Control
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2
from turnout.registry.v1 import registry_service_pb2


def news_of(answer):
    status, _, text, _ = answer
    assert status == 200, text
    return re.search(r'<p class="news (good|bad)"[^>]*>(.*?)</p>', text)[2]


def champion(site):
    with site.control("read") as control:
        model = control.registry.GetModel(registry_service_pb2.GetModelRequest(name="models/delays")).model
        return next((each.version, each.generation) for each in model.aliases if each.alias == "champion")


def newest_event(site):
    with site.control("read") as control:
        return control.admin.ListEvents(admin_service_pb2.ListEventsRequest(page_size=1)).events[0]


def test_without_a_token_every_page_leads_to_the_way_in_and_back(visitor, site):
    status, _, _, url = visitor.open("/models/delays")
    assert status == 200
    assert url == f"{site.http}/sign-in?next=%2Fmodels%2Fdelays"
    form = {"seal": visitor.seal("/sign-in"), "token": site.tokens["read"], "next": "/models/delays"}
    assert visitor.open("/sign-in", form=form)[3] == f"{site.http}/models/delays"


@pytest.mark.parametrize(
    "where", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\r\nX-Own: 1"]
)
def test_the_way_in_leads_to_no_other_site(visitor, site, where):
    form = {"seal": visitor.seal("/sign-in"), "token": site.tokens["read"], "next": where}
    assert visitor.open("/sign-in", form=form)[3] == f"{site.http}/"


def test_a_wrong_token_is_refused_and_begins_nothing(visitor):
    form = {"seal": visitor.seal("/sign-in"), "token": "tt_nobody", "next": "/"}
    status, _, text, _ = visitor.open("/sign-in", form=form)
    assert status == 401
    assert "No identity has this token" in text
    assert visitor.open("/models")[3].endswith("/sign-in?next=%2Fmodels")


def test_the_cookie_is_for_this_site_alone_and_changes_when_one_signs_in_and_out(visitor, site, visitor_of):
    _, headers, _, _ = visitor.open("/sign-in")
    given = headers["Set-Cookie"]
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    before = next(iter(visitor.jar)).value
    visitor.sign_in("read")
    signed = next(iter(visitor.jar)).value
    assert signed != before
    visitor.open("/sign-out", form={"seal": visitor.seal("/")})
    assert next(iter(visitor.jar)).value != signed
    thief = visitor_of(site)
    assert "/sign-in" in thief.open("/models", headers={"Cookie": f"turnout={signed}"})[3]


def test_somebody_who_may_only_predict_sees_nothing(site, visitor_of):
    predictor = visitor_of(site)
    form = {"seal": predictor.seal("/sign-in"), "token": site.tokens["predict"], "next": "/models"}
    status, _, text, _ = predictor.open("/sign-in", form=form)
    assert status == 403
    assert "takes the role" in text


def test_promoting_and_rolling_back_are_done_by_the_contract_and_audited(admin, site):
    version, generation = champion(site)
    other = 3 if version != 3 else 2
    answer = admin.act("/models/delays", "promote", version=other, generation=generation, reason="by hand")
    assert news_of(answer).startswith(f"Version {other} is the champion")
    assert champion(site) == (other, generation + 1)
    event = newest_event(site)
    assert (event.kind, event.resource, event.actor) == ("alias.moved", "models/delays", "admin-person")
    assert event.credential == "token"
    assert event.peer.startswith("ipv4:127.0.0.1:")
    stale = admin.act("/models/delays", "promote", version=version, generation=generation)
    assert news_of(stale).startswith("Not done: ")
    assert champion(site) == (other, generation + 1)
    back = admin.act("/models/delays", "rollback", generation=generation + 1, reason="back")
    assert news_of(back) == f"Version {version} is the champion again, as of revision {newest_event(site).revision}."
    assert champion(site)[0] == version


def test_an_experiment_is_led_from_start_to_archive(admin, site, create_experiment):
    with site.control() as control:
        create_experiment(control, "led", (0.5, 0.5), layer_share=0.1)
    page = "/experiments/led"
    assert news_of(admin.act(page, "start")).startswith("Started")
    text = admin.text(page)
    etag = re.search(r'name="etag" value="(\w+)"', text)[1]
    shares = {"share.control": "0.7", "share.deeper": "0.3"}
    dry = news_of(admin.act(page, "split", etag=etag, dry_run="yes", **shares))
    assert dry.startswith("20.00% of the units would move")
    assert dry.endswith("Nothing was changed.")
    assert news_of(admin.act(page, "split", etag=etag, **shares)).startswith("The split is changed")
    assert news_of(admin.act(page, "split", etag=etag, **shares)).startswith("Not done: ")
    assert news_of(admin.act(page, "split", etag="", **shares)).startswith("Not done: the form names no etag")
    wrong = admin.act(page, "split", etag=etag, **(shares | {"share.control": "much"}))
    assert "which is no number" in news_of(wrong)
    assert news_of(admin.act(page, "pause", reason="lunch")).startswith("Paused")
    assert news_of(admin.act(page, "resume", reason="back")).startswith("Resumed")
    assert news_of(admin.act(page, "look")).startswith("Looked: ")
    assert news_of(admin.act(page, "conclude", winner="", reason="enough")).startswith("Concluded, nobody won")
    assert news_of(admin.act(page, "archive")).startswith("Archived")
    with site.control("read") as control:
        led = control.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/led")).experiment
    assert led.state == pb.EXPERIMENT_STATE_ARCHIVED
    assert 'name="verb"' not in admin.text(page)


def test_a_ramp_is_paused_resumed_approved_and_aborted(admin, site):
    page = "/experiments/ramped"
    text = admin.text(page)
    assert "Pause the ramp" in text
    assert "Abort the ramp" in text
    assert "Change the split" not in text, "the ramp sets it"
    assert news_of(admin.act(page, "ramp-pause", reason="lunch")) == "The ramp stays where it is."
    assert "Resume the ramp" in admin.text(page)
    assert news_of(admin.act(page, "ramp-resume", reason="back")) == "The ramp goes on."
    assert news_of(admin.act(page, "ramp-approve", step=9)).startswith("Not done: ")
    assert news_of(admin.act(page, "ramp-approve", step=1, reason="fine")) == "The step is approved."
    assert news_of(admin.act(page, "ramp-abort", reason="enough")) == "The ramp is aborted."
    with site.control("read") as control:
        ramp = control.experiments.GetRamp(pb.GetRampRequest(name="experiments/ramped")).ramp
    assert ramp.state == ramp_pb2.RAMP_STATE_ABORTED
    assert "Abort the ramp" not in admin.text(page)


def test_a_reader_who_sends_the_form_all_the_same_is_refused_by_the_authority_table(reader, site):
    before = champion(site)
    answer = reader.act("/models/delays", "promote", version=2, generation=before[1])
    assert "it takes the role `admin`" in news_of(answer)
    assert champion(site) == before


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"seal": ""}, {}),
        ({"seal": "0" * 64}, {}),
        ({"seal": "é"}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_form_that_another_site_sent_does_nothing(admin, site, change, headers):
    before = champion(site)
    form = {"seal": admin.seal("/models/delays"), "verb": "rollback", "generation": before[1], "reason": "x"} | change
    assert admin.open("/models/delays", form=form, headers=headers)[0] == 403
    assert champion(site) == before


def test_the_seal_of_one_session_is_none_in_another(admin, site, visitor_of):
    before = champion(site)
    stolen = visitor_of(site).sign_in("admin").seal("/models/delays")
    form = {"seal": stolen, "verb": "rollback", "generation": before[1], "reason": "x"}
    assert admin.open("/models/delays", form=form)[0] == 403
    assert champion(site) == before


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/models/delays", {"verb": "explode"}, 400),
        ("/models", {"verb": "promote"}, 400),
        ("/nothing", {"verb": "promote"}, 404),
    ],
)
def test_what_is_not_done_here_is_not_done(admin, path, form, status):
    assert admin.open(path, form={"seal": admin.seal("/")} | form)[0] == status


def test_a_form_that_is_too_long_is_refused_unread(visitor):
    assert visitor.open("/sign-in", form={"token": "x" * 70_000})[0] == 413


def test_without_tokens_changes_are_taken_by_address_alone(launch, tmp_path, onnx_bytes, visitor_of):
    gateway = launch(tmp_path / "state")

    class Open:
        http = f"http://127.0.0.1:{gateway.http}"

    visitor = visitor_of(Open)
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_bytes(2.0))
    with Control(gateway.control_address) as control:
        control.publish_version("m", path)
    page = visitor.text("/models/m")
    assert "no sign-in" in page
    seal = re.search(r'name="seal" value="(\w+)"', page)[1]
    form = {"seal": seal, "verb": "promote", "version": 1, "generation": 0}
    rebound = {"Host": "evil.example"}
    assert visitor.open("/models/m", form=form, headers=rebound)[0] == 403
    assert news_of(visitor.open("/models/m", form=form)).startswith("Version 1 is the champion")
    with Control(gateway.control_address) as control:
        event = control.admin.ListEvents(admin_service_pb2.ListEventsRequest(page_size=1)).events[0]
    assert event.actor == "console"
    assert gateway.stop() == 0

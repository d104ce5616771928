"""Calls as JSON are asked for who makes them, whatever the way to the data port is encrypted with."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request

import pytest

PREDICT = "/v1/models/nothing:predict"
UNKNOWN = (404, "MODEL_NOT_SERVED")
RUNS = "/api/policies/nothing/runs"


@pytest.fixture
def ask():
    def asked(secured, *, token="", pair="", path=PREDICT, content_type="application/json", body=b"{}"):
        """Return the status and the reason of a call about what there is not."""
        context, scheme = None, "http"
        if secured.authority is not None:
            scheme, context = "https", ssl.create_default_context(cafile=secured.authority.certificate)
            if pair:
                shown = secured.pairs[pair]
                context.load_cert_chain(shown.certificate, shown.key)
        headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {token}"} if token else {})
        url = f"{scheme}://127.0.0.1:{secured.gateway.http}{path}"
        request = urllib.request.Request(url, body, headers)  # noqa: S310  (a gateway here)
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, context=context, timeout=30)  # noqa: S310
        with raised.value as answer:
            return answer.status, json.loads(answer.read())["reason"]

    return asked


def test_a_token_with_the_role_reaches_the_pipeline_and_no_other_does(secured, ask):
    tokens = secured.tokens
    assert ask(secured, token=tokens["predict"]) == UNKNOWN
    assert ask(secured, token=tokens["outcomes"]) == (403, "ROLE_MISSING")
    assert ask(secured, token=tokens["expired"]) == (401, "TOKEN_EXPIRED")
    assert ask(secured, token="turnout_nobody") == (401, "TOKEN_INVALID")  # noqa: S106
    assert ask(secured) == (401, "CREDENTIALS_MISSING")


def test_a_certificate_is_asked_for_its_role_before_the_gateway_shows_its_own(mutual, ask):
    assert ask(mutual, pair="outcomes") == (403, "ROLE_MISSING")
    assert ask(mutual, pair="nobody") == (403, "CERTIFICATE_UNKNOWN")
    assert ask(mutual, pair="expired") == (401, "TOKEN_EXPIRED")
    # It passes here, and the gateway's own certificate, which goes on with the call, is nobody's in the file.
    assert ask(mutual, pair="predict") == (403, "CERTIFICATE_UNKNOWN")


def test_a_run_is_started_by_http_with_the_role_that_starts_it_and_with_json_alone(secured, ask):
    tokens = secured.tokens
    assert ask(secured, token=tokens["runs"], path=RUNS) == (404, "POLICY_NOT_FOUND")
    assert ask(secured, token=tokens["admin"], path=RUNS) == (404, "POLICY_NOT_FOUND")
    # Who may ask for a run may not end another one by it.
    superseding = {"path": RUNS, "body": b'{"supersede": true}'}
    assert ask(secured, token=tokens["runs"], **superseding) == (403, "ROLE_MISSING")
    assert ask(secured, token=tokens["admin"], **superseding) == (404, "POLICY_NOT_FOUND")
    assert ask(secured, token=tokens["read"], path=RUNS) == (403, "ROLE_MISSING")
    assert ask(secured, token=tokens["expired"], path=RUNS) == (401, "TOKEN_EXPIRED")
    assert ask(secured, path=RUNS) == (401, "CREDENTIALS_MISSING")
    sent_by_a_page = {"content_type": "text/plain", "path": RUNS}
    assert ask(secured, token=tokens["admin"], **sent_by_a_page) == (400, "REQUEST_MALFORMED")

"""Which transport is taken, and what is said about it."""

from __future__ import annotations

import logging
from dataclasses import replace

from gateway.transport.port import Wiring
from gateway.transport.select import open_transport
from gateway.transport.selftest import find_fault
from gateway.transport.tls import Certificates, TlsFiles


def wiring(address="127.0.0.1:0"):
    return Wiring(address=address, methods=["/a.B/C"], answer=answer_late, add_services=lambda _: None)


def answer_late(wave):
    raise AssertionError(wave)


def test_auto_takes_native_where_it_works_and_says_why(caplog):
    with caplog.at_level(logging.INFO):
        transport = open_transport("auto", wiring())
    assert transport.name == "native"
    assert "self-test passed" in transport.why
    assert f"transport native: {transport.why}" in caplog.messages
    transport.start()
    assert transport.drain(1.0)
    transport.close()


def test_auto_takes_native_where_the_port_needs_tls_too(tmp_path, certificate_authority):
    server = certificate_authority(tmp_path).issue_server()
    certificates = Certificates(TlsFiles(certificate=server.certificate, key=server.key))
    transport = open_transport("auto", replace(wiring(), tls=certificates))
    assert transport.name == "native"
    transport.close()


def test_what_was_asked_for_is_taken():
    assert open_transport("grpcio", wiring()).name == "grpcio"


class Liar:
    """A transport that opens and never serves."""

    name = "liar"
    why = "to be found out"

    def start(self):
        return 1

    def drain(self, grace_s):
        return grace_s > 0

    def close(self):
        self.closed = True


def test_the_self_test_finds_a_transport_that_does_not_serve():
    assert "self-test ended with" in find_fault(lambda _wiring, _why: Liar())


def test_the_self_test_finds_a_transport_that_does_not_open():
    def refuse(_wiring, _why):
        raise OSError("no such luck")

    assert find_fault(refuse) == "it does not open: no such luck"

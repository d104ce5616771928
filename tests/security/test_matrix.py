"""Who may call what: every method of every service, with every credential, is let in exactly where the table says."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.rpc.authority import AUTHORITY, OPEN, role_of
from turnout.tokens import ROLES, new_token
from turnout.trainer.v1 import trainer_service_pb2 as trainer_pb
from turnout.trainer.v1 import trainer_service_pb2_grpc as trainer_grpc

PORTS = ("data", "control")
GARBAGE = b"\xff"  # is no message: whoever is let in is told so, and nothing is changed
CALL_S = 20.0
DENIED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
REFUSED = {
    "nothing": ("UNAUTHENTICATED", "CREDENTIALS_MISSING"),
    "a certificate of nobody": ("PERMISSION_DENIED", "CERTIFICATE_UNKNOWN"),
    "a wrong token": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "a word": ("UNAUTHENTICATED", "TOKEN_INVALID"),
    "an expired token": ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
    "an expired certificate": ("UNAUTHENTICATED", "TOKEN_EXPIRED"),
}


def served(channel, metadata):
    """Return each method that a port serves, by its path, with whether it takes and gives streams."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    def ask(**question):
        request = reflection_pb2.ServerReflectionRequest(**question)
        (answer,) = stub.ServerReflectionInfo(iter([request]), metadata=metadata, timeout=CALL_S)
        return answer

    methods = {}
    for service in ask(list_services="").list_services_response.service:
        found = ask(file_containing_symbol=service.name).file_descriptor_response.file_descriptor_proto
        files = [descriptor_pb2.FileDescriptorProto.FromString(each) for each in found]
        for file in files:
            for each in file.service:
                if f"{file.package}.{each.name}" == service.name:
                    methods |= {
                        f"/{service.name}/{method.name}": (method.client_streaming, method.server_streaming)
                        for method in each.method
                    }
    return methods


def call(channel, path, kind, metadata):
    """Call a method with what is no message, and return how that ended: the code and the reason."""
    takes_stream, gives_stream = kind
    make = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[kind]
    request = iter([GARBAGE]) if takes_stream else GARBAGE
    try:
        answer = make(path)(request, metadata=metadata, timeout=CALL_S)
        if gives_stream:
            next(answer, None)  # one answer is enough to know; some streams have no end
            answer.cancel()
    except grpc.RpcError as error:
        return error.code(), reason_of(error)
    return grpc.StatusCode.OK, ""


def reason_of(error):
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return ""
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(details)
    status.details[0].Unpack(info)
    assert (status.code, info.domain) == (error.code().value[0], "turnout")
    return info.reason


def credentials(secured, bearer):
    """Return what callers show, by a name for it: the certificate, the metadata, and the role it has."""
    shown = {
        "a wrong token": ("nobody", bearer(new_token()), None),
        "a word": ("nobody", (("authorization", secured.tokens["admin"]),), None),
        "an expired token": ("nobody", bearer(secured.tokens["expired"]), None),
    }
    shown |= {f"a token for {role}": ("nobody", bearer(secured.tokens[role]), role) for role in ROLES}
    if secured.authority is None:
        return shown | {"nothing": ("nobody", (), None)}
    shown |= {f"a certificate for {role}": (role, (), role) for role in ROLES}
    # A token counts before a certificate, whichever of the two may do more.
    shown["a token for read and a certificate for admin"] = ("admin", bearer(secured.tokens["read"]), "read")
    shown["an expired certificate"] = ("expired", (), None)
    return shown | {"a certificate of nobody": ("nobody", (), None)}


@pytest.fixture(scope="module")
def methods(secured, bearer):
    found = {}
    for port in PORTS:
        with secured.channel(port) as channel:
            found[port] = served(channel, bearer(secured.tokens["read"]))
    return found


def test_every_method_that_is_served_has_a_row_and_every_row_is_served(methods):
    assert {path for port in PORTS for path in methods[port]} == set(AUTHORITY)
    assert set(AUTHORITY.values()) == {OPEN, *ROLES}


def test_what_is_enforced_is_exactly_the_table(secured, bearer, methods):
    wrong = []
    calls = 0
    for name, (pair, metadata, role) in credentials(secured, bearer).items():
        for port in PORTS:
            with secured.channel(port, pair) as channel:
                for path, kind in methods[port].items():
                    code, reason = call(channel, path, kind, metadata)
                    calls += 1
                    needed = role_of(path)
                    if needed == OPEN or role in {needed, "admin"}:
                        right = code not in DENIED
                    elif role is None:
                        right = (code.name, reason) == REFUSED[name]
                    else:
                        right = (code.name, reason) == ("PERMISSION_DENIED", "ROLE_MISSING")
                    if not right:
                        wrong.append(f"{port} {path} with {name}: {code.name} {reason}")
    assert wrong == []
    assert calls == len(credentials(secured, bearer)) * sum(len(methods[port]) for port in PORTS)
    print(f"{calls} calls")  # noqa: T201  (for those who look)


def test_an_unknown_method_is_unimplemented_whoever_asks(secured, bearer):
    for port in PORTS:
        with secured.channel(port) as channel:
            for metadata in ((), bearer(secured.tokens["admin"])):
                for path in ("/turnout.serving.v1.PredictionService/Guess", "/turnout.nothing.v1.Nothing/Do"):
                    code, _ = call(channel, path, (False, False), metadata)
                    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_who_may_ask_for_a_run_may_not_end_another_one_by_it(secured, bearer):
    said = {}
    with secured.channel("control") as channel:
        training = trainer_grpc.TrainerServiceStub(channel)
        for role in ("runs", "admin"):
            for supersede in (False, True):
                request = trainer_pb.StartRunRequest(parent="policies/nothing", supersede=supersede)
                with pytest.raises(grpc.RpcError) as raised:
                    training.StartRun(request, metadata=bearer(secured.tokens[role]), timeout=CALL_S)
                said[role, supersede] = reason_of(raised.value)
    missing, refused = "POLICY_NOT_FOUND", "ROLE_MISSING"
    assert said == {
        ("runs", False): missing,
        ("runs", True): refused,
        ("admin", False): missing,
        ("admin", True): missing,
    }

"""The file of identities: what it may say, who edits it, and what a running gateway makes of a change."""

from __future__ import annotations

import datetime as dt
import json
import stat
import subprocess
import sys
import time

import pytest

from gateway.access.access import Access, require
from gateway.access.directory import LOOK_INTERVAL_S
from gateway.errors import (
    CertificateUnknownError,
    CredentialsMissingError,
    IdentitiesUnusableError,
    RoleMissingError,
    TokenExpiredError,
    TokenInvalidError,
)
from turnout.tokens import (
    ROLES,
    TOKEN_PREFIX,
    TokenFileError,
    edited,
    hash_of,
    make_identity,
    new_token,
    read_identities,
)

WAIT_S = 10.0


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.json"


@pytest.fixture
def add(file):
    """Return the function that adds an identity and returns its token."""

    def put(name, *roles, **options):
        token = new_token()
        given = options if "certificate" in options else {"sha256": hash_of(token), **options}
        with edited(file) as identities:
            identities.append(make_identity(name, roles, **given))
        return token

    return put


def soon(condition):
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_token_has_256_random_bits_and_the_file_keeps_its_hash_alone(add, file):
    token = add("website", "predict")
    assert token.startswith(TOKEN_PREFIX)
    assert len(token) - len(TOKEN_PREFIX) == 43  # 32 bytes in base 64
    assert len({new_token() for _ in range(1000)}) == 1000
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_written_is_read_back(add, file):
    expires = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    add("website", "outcomes", "predict", expires=expires)
    add("trainer", "admin", certificate="URI:spiffe://example/trainer")
    website, trainer = read_identities(file)
    assert (website.name, website.roles, website.expires) == ("website", ("predict", "outcomes"), expires)
    assert (trainer.certificate, trainer.sha256) == ("URI:spiffe://example/trainer", "")


GOOD = {"name": "a", "roles": ["read"], "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "not JSON"),
        ("[]", "identities"),
        ('{"identities": [], "more": 1}', "identities"),
        ({"identities": [GOOD | {"name": "a b"}]}, "letters"),
        ({"identities": [GOOD | {"name": 3}]}, "text"),
        ({"identities": [GOOD | {"roles": []}]}, "roles"),
        ({"identities": [GOOD | {"roles": ["root"]}]}, "roles"),
        ({"identities": [GOOD | {"roles": "admin"}]}, "list"),
        ({"identities": [GOOD | {"sha256": "0" * 63}]}, "hash"),
        ({"identities": [GOOD | {"certificate": "CN:a"}]}, "one of the two"),
        ({"identities": [{"name": "a", "roles": ["read"]}]}, "one of the two"),
        ({"identities": [{"name": "a", "roles": ["read"], "certificate": "a"}]}, "CN:"),
        ({"identities": [GOOD | {"expires": "tomorrow"}]}, "no time"),
        ({"identities": [GOOD | {"expires": "2030-01-01T00:00:00"}]}, "zone"),
        ({"identities": [GOOD | {"token": "secret"}]}, "object of"),
        ({"identities": [GOOD, GOOD | {"sha256": "1" * 64}]}, "same name"),
        ({"identities": [GOOD, GOOD | {"name": "b"}]}, "same token"),
    ],
)
def test_a_file_that_is_wrong_anywhere_is_refused_as_a_whole(file, document, words):
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(TokenFileError, match=words):
        read_identities(file)
    with pytest.raises(IdentitiesUnusableError, match=r"tokens\.json"):
        Access(file)


def test_an_edit_that_fails_leaves_the_file_and_nothing_beside_it(add, file):
    add("website", "predict")
    before = file.read_bytes()
    with pytest.raises(TokenFileError, match="same name"):
        add("website", "read")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_editors_in_several_processes_take_turns_and_lose_nothing(file):
    program = (
        "import sys, pathlib\n"
        "from turnout.tokens import edited, hash_of, make_identity, new_token\n"
        "for each in range(10):\n"
        "    with edited(pathlib.Path(sys.argv[1])) as identities:\n"
        "        name = f'{sys.argv[2]}-{each}'\n"
        "        identities.append(make_identity(name, ['read'], sha256=hash_of(new_token())))\n"
    )
    editors = [subprocess.Popen([sys.executable, "-c", program, str(file), str(each)]) for each in range(4)]
    assert [editor.wait(60) for editor in editors] == [0] * 4
    assert len(read_identities(file)) == 40


def test_roles_are_what_the_file_says_and_admin_implies_all(add, file):
    reader, admin = add("reader", "read"), add("admin", "admin")
    access = Access(file)
    caller = access.caller(f"Bearer {reader}", ())
    assert (caller.name, caller.credential) == ("reader", "token")
    require(caller, "read")
    with pytest.raises(RoleMissingError, match="takes the role `admin`") as caught:
        require(caller, "admin")
    assert caught.value.facts == {"identity": "reader", "role": "admin"}
    assert access.caller(f"bearer  {admin}", ()).roles == set(ROLES)


def test_who_shows_nothing_or_nothing_that_is_known_is_told_which(add, file):
    add("late", "admin", certificate="CN:late", expires=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    expired = add("gone", "admin", expires=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    access = Access(file)
    for error, authorization, certificate in (
        (CredentialsMissingError, None, ()),
        (TokenInvalidError, f"Bearer {new_token()}", ()),
        (TokenInvalidError, "Bearer ", ()),
        (TokenInvalidError, f"Basic {expired}", ()),
        (TokenInvalidError, "Bearer \ud800", ()),
        (TokenInvalidError, f"Bearer {new_token()}", ("CN:known",)),
        (TokenExpiredError, f"Bearer {expired}", ()),
        (TokenExpiredError, None, ("CN:late",)),
        (CertificateUnknownError, None, ("CN:stranger", "DNS:x")),
    ):
        with pytest.raises(error) as caught:
            access.caller(authorization, certificate)
        assert expired not in str(caught.value)


def test_without_a_file_every_certificate_of_the_authority_may_do_everything():
    access = Access(certificates=True)
    assert access.caller(None, ("CN:anybody",)).roles == set(ROLES)
    assert access.caller(None, ("CN:anybody",)).name == "CN:anybody"
    with pytest.raises(CredentialsMissingError):
        access.caller(None, ())
    assert not Access().asks


def test_an_added_identity_is_let_in_and_a_revoked_one_is_not_within_a_second(add, file):
    first = add("first", "read")
    access = Access(file)
    assert access.caller(f"Bearer {first}", ()).name == "first"
    second = add("second", "read")
    edition = access.edition

    def knows(token):
        try:
            return bool(access.caller(f"Bearer {token}", ()))
        except TokenInvalidError:
            return False

    soon(lambda: knows(second))
    assert access.edition > edition
    with edited(file) as identities:
        identities[:] = [each for each in identities if each.name != "first"]
    soon(lambda: not knows(first))
    assert knows(second)
    assert LOOK_INTERVAL_S < 1.0


@pytest.mark.parametrize("damage", ["not json", "gone", "anybody may write"])
def test_a_file_that_cannot_be_used_any_more_leaves_what_was_in_force_and_is_reported(add, file, damage, caplog):
    token = add("reader", "read")
    access = Access(file)
    if damage == "not json":
        file.write_text("{")
    elif damage == "gone":
        file.unlink()
    else:
        add("other", "read")
        file.chmod(0o666)
    time.sleep(LOOK_INTERVAL_S)
    assert access.caller(f"Bearer {token}", ()).name == "reader"
    time.sleep(LOOK_INTERVAL_S)
    assert access.caller(f"Bearer {token}", ()).name == "reader"
    assert len([each for each in caplog.messages if "stay in force" in each]) == 1

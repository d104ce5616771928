"""Redis in every form that an address may name: real servers, Sentinels and a cluster, with users, and under TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
import time

import pytest
import redis

from features.codec import HEADER, entity_key, key_prefix
from features.errors import StoreUnavailableError, StoreUrlError
from features.redis_address import parse_address
from features.redis_routes import slot_of
from features.store import open_store

PATIENCE_S = 30
BUDGET_MS = 5000
PAIRS = [
    (entity_key(key_prefix(view, 1), f"e{number}"), HEADER.pack(1, 1, 0, number, 0))
    for view in ("a", "b")
    for number in range(200)
]
KEYS = [key for key, _ in PAIRS]
BLOBS = [blob for _, blob in PAIRS]


def free_port():
    """Return a port that nobody has now; a cluster's bus takes the one 10 000 above."""
    while True:
        with socket.socket() as taken, socket.socket() as bus:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            if port < 55_000:
                with contextlib.suppress(OSError):
                    bus.bind(("127.0.0.1", port + 10_000))
                    return port


def wait_for(check):
    give_up = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(redis.RedisError, StoreUnavailableError):
            if check():
                return
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.fixture
def run_redis(redis_binary, tmp_path):
    """Return the function that starts a Redis with some flags on a port of its own; all are killed at the end."""
    started = []

    def start(*flags, sentinel=None):
        port = free_port()
        folder = tmp_path / f"redis-{port}"
        folder.mkdir()
        command = [str(redis_binary)]
        if sentinel is not None:
            (folder / "sentinel.conf").write_text(sentinel)
            command += [str(folder / "sentinel.conf"), "--sentinel"]
        command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *flags]
        if sentinel is None:
            command += ["--save", ""]
        with (folder / "log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return port, started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def exchange(url):
    """Write and read through a store, and return what came back."""
    store = open_store(url, writable=True, read_budget_ms=BUDGET_MS)
    try:
        store.put_many(PAIRS)
        return store.get_many([*KEYS, b"none"])
    finally:
        store.close()


class Encrypted:
    """TLS in front of a Redis, since the tests' server is built without it."""

    def __init__(self, behind, pair, client_ca):
        self._behind = behind
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
        self._context.load_cert_chain(pair.certificate, pair.key)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(30)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader, writer):
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        try:
            await asyncio.gather(self._pass(reader, behind_writer), self._pass(behind_reader, writer))
        finally:
            behind_writer.close()
            writer.close()

    @staticmethod
    async def _pass(reader, writer):
        with contextlib.suppress(OSError):
            while received := await reader.read(1 << 16):
                writer.write(received)
                await writer.drain()
        writer.close()


@pytest.fixture
def encrypt():
    """Return the function that puts TLS in front of a port; all are closed at the end."""
    opened = []

    def start(*arguments):
        opened.append(Encrypted(*arguments))
        return opened[-1].port

    yield start
    for each in opened:
        each.close()


def test_users_get_in_by_their_passwords_and_certificates(run_redis, encrypt, certificate_authority, tmp_path):
    plain, _ = run_redis(
        *("--user", "turnout", "on", ">s%cret", "~*", "+@all", "-@dangerous"),
        *("--user", "default", "off"),
    )
    inside = f"redis://turnout:s%25cret@127.0.0.1:{plain}"
    wait_for(lambda: exchange(inside) == [*BLOBS, None])
    authority = certificate_authority(tmp_path / "ca")
    client, ca = authority.issue("client"), authority.certificate
    port = encrypt(plain, authority.issue_server(), ca)
    shown = f"ssl_ca_certs={ca}&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
    url = f"rediss://turnout:s%25cret@localhost:{port}/0?{shown}"
    assert exchange(url) == [*BLOBS, None]
    for wrong in (
        inside.replace("s%25cret", "wrong"),
        inside.replace("turnout:s%25cret@", ""),
        url.replace("s%25cret", "wrong"),
        url.replace(f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}", ""),
        url.replace(f"ssl_ca_certs={ca}&", ""),
        url.replace("rediss://", "redis://").partition("?")[0],
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            exchange(wrong)
        assert "s%cret" not in str(caught.value)


def test_threads_share_a_connection_under_tls(run_redis, encrypt, certificate_authority, tmp_path):
    plain, _ = run_redis()
    wait_for(lambda: exchange(f"redis://127.0.0.1:{plain}") == [*BLOBS, None])
    authority = certificate_authority(tmp_path / "ca")
    client, ca = authority.issue("client"), authority.certificate
    port = encrypt(plain, authority.issue_server(), ca)
    shown = f"ssl_ca_certs={ca}&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
    store = open_store(f"rediss://localhost:{port}?{shown}", writable=False, read_budget_ms=BUDGET_MS)
    wrong = []

    def read(offset):
        for step in range(40):
            places = [(offset * 13 + step * each) % len(PAIRS) for each in range(9)]
            if store.get_many([KEYS[place] for place in places]) != [BLOBS[place] for place in places]:
                wrong.append(places)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert wrong == []


def reads(server):
    return server.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]


def test_a_master_is_found_by_its_sentinels_and_the_next_one_after_it(run_redis):
    master, process = run_redis()
    replica, _ = run_redis("--replicaof", f"127.0.0.1 {master}")
    said = (
        f"sentinel monitor ours 127.0.0.1 {master} 2\nsentinel down-after-milliseconds ours 500\n"
        "sentinel failover-timeout ours 2000\nsentinel parallel-syncs ours 1\n"
    )
    sentinels = [run_redis(sentinel=said)[0] for _ in range(3)]
    dead = free_port()
    hosts = ",".join(f"127.0.0.1:{port}" for port in (dead, *sentinels))
    url = f"redis+sentinel://{hosts}/ours/0"
    wait_for(lambda: exchange(url) == [*BLOBS, None])
    with redis.Redis(port=master) as one:
        wait_for(lambda: one.wait(1, 100) == 1)
    with redis.Redis(port=sentinels[0]) as asked:
        wait_for(lambda: int(asked.sentinel_master("ours")["num-other-sentinels"]) == 2)
        wait_for(lambda: int(asked.sentinel_master("ours")["num-slaves"]) == 1)
    store = open_store(url, writable=True, read_budget_ms=BUDGET_MS)
    assert store.get_many(KEYS) == BLOBS
    far = open_store(f"{url}?replica_lag_max_s=60", writable=True, read_budget_ms=BUDGET_MS)
    with redis.Redis(port=replica) as one:
        # Until a sentinel has seen the replica in step, the master answers.
        wait_for(lambda: far.get_many(KEYS) == BLOBS and reads(one) > 0)
        before = reads(one)
        assert far.get_many(KEYS) == BLOBS
        assert reads(one) == before + 1
        one.client_kill_filter(_type="normal", skipme=True)
        assert far.get_many(KEYS) == BLOBS
        one.config_set("requirepass", "sesame")  # lets no new connection in
        one.client_kill_filter(_type="normal", skipme=True)
        assert far.get_many(KEYS) == BLOBS  # the master's
        one.config_set("requirepass", "")
    process.kill()
    wait_for(lambda: store.get_many(KEYS) == BLOBS)
    wait_for(lambda: far.get_many(KEYS) == BLOBS)
    far.close()
    newer = (KEYS[0], HEADER.pack(1, 1, 0, 1 << 40, 0))
    wait_for(lambda: store.put_many([newer]) in {0, 1})
    assert store.get_many(KEYS[:1]) == [newer[1]]
    with redis.Redis(port=replica) as promoted:
        assert promoted.role()[0] == b"master"
    store.close()
    with pytest.raises(StoreUnavailableError, match="theirs"):
        exchange(url.replace("/ours/", "/theirs/"))


def test_a_cluster_is_read_by_slot_and_followed_when_a_slot_moves(run_redis):
    ports = [run_redis("--cluster-enabled", "yes")[0] for _ in range(3)]
    nodes = [redis.Redis(port=port) for port in ports]
    for node in nodes:
        wait_for(node.ping)
    share = -(-16384 // 3)
    for place, node in enumerate(nodes):
        last = min(16384, (place + 1) * share) - 1
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", place * share, last)
        node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
    wait_for(lambda: all("cluster_state:ok" in str(node.execute_command("CLUSTER", "INFO")) for node in nodes))
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{ports[1]}"
    store = open_store(url, writable=True, read_budget_ms=BUDGET_MS)
    assert store.put_many(PAIRS) == len(PAIRS)
    assert store.get_many([*KEYS, b"none"]) == [*BLOBS, None]
    assert sorted(store.scan()) == sorted(PAIRS)
    assert {len(node.keys("*")) > 0 for node in nodes} == {True}  # all three have some
    assert slot_of(KEYS[0]) == slot_of(KEYS[200])  # an entity's views are together

    slot = slot_of(KEYS[0])
    source = next(node for node in nodes if node.exists(KEYS[0]))
    target = next(node for node in nodes if node is not source)
    ids = {node: node.execute_command("CLUSTER", "MYID") for node in (source, target)}
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    there = target.connection_pool.connection_kwargs["port"]
    source.execute_command("MIGRATE", "127.0.0.1", there, KEYS[0], 0, 5000)  # one of the slot's two views has moved
    assert store.get_many(KEYS) == BLOBS
    assert store.put_many([(KEYS[0], HEADER.pack(1, 1, 0, 999, 0)), (KEYS[200], HEADER.pack(1, 1, 0, 999, 0))]) == 2
    source.execute_command("MIGRATE", "127.0.0.1", there, KEYS[200], 0, 5000)
    for node in (target, source, *nodes):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    newest = [HEADER.pack(1, 1, 0, 999, 0) if place in {0, 200} else blob for place, blob in enumerate(BLOBS)]
    assert store.get_many(KEYS) == newest
    assert store.forget(key_prefix("a", 1).encode(), 100) == 99
    store.close()
    for node in nodes:
        node.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", ("single", (("h", 6379),), "", 0, "", "")),
        ("redis://:p%40ss@h:7/3", ("single", (("h", 7),), "", 3, "", "p@ss")),
        ("unix://u:sesame@/run/r%20s?db=2", ("single", (("/run/r s", 0),), "", 2, "u", "sesame")),
        ("redis+sentinel://a,b:9/name/4", ("sentinel", (("a", 26379), ("b", 9)), "name", 4, "", "")),
        ("redis+cluster://u:sesame@a,[::1]:9", ("cluster", (("a", 6379), ("::1", 9)), "", 0, "u", "sesame")),
    ],
)
def test_an_address_says_what_is_where(url, expected):
    found = parse_address(url)
    assert (found.kind, found.places, found.service, found.db, found.user, found.password) == expected
    assert found.password == "" or found.password not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://u:secret@h:port",
        "redis://u:secret@h/x",
        "redis://u:secret@h/0/1",
        "redis://u:secret@h?ssl_ca_certs=f",
        "rediss://u:secret@h?ssl_ca_certs=/no/such/file",
        "redis+sentinel://u:secret@h",
        "redis+cluster://u:secret@h/1",
        "redis://u:secret@h?timeout=9",
        "redis://u:secret@h?replica_lag_max_s=9",
        "redis+sentinel://u:secret@h/name?replica_lag_max_s=soon",
    ],
)
def test_an_address_that_says_nothing_is_refused_without_its_password(url):
    with pytest.raises(StoreUrlError) as caught:
        open_store(url, writable=False)
    assert "secret" not in str(caught.value) + str(caught.value.facts)


def test_a_keys_slot_is_the_one_that_redis_says():
    assert [slot_of(key) for key in (b"123456789", b"foo{bar}zap", b"bar", b"foo{}{bar}", b"{}", b"a{b}{c}")] == [
        12739,
        5061,
        5061,
        8363,
        15257,
        3300,
    ]

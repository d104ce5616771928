"""Bytes of all kinds at every method of every service on both ports: no process dies, grows or forgets its work."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import grpc
import psutil
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

THREADS = 3
UNARY_S_MAX = 2.0
STREAM_S_MAX = 0.3
GROWTH_BYTES_MAX = 64 * 1024 * 1024
DEPTH_MAX = 4
TEXTS = ["", "m", "models/m", "models/m/versions/1", "champion", "x", "score", "1", "FP32", "BYTES", "turnout_unit_id"]
TEXTS += [
    "experiments/e",
    "lateness",
    "models/m/versions/2",
    "a" * 5000,
    "\0",
    "é€😀",
    "../../etc",
    "%s%n",
    "plain",
    "carrier",
]
NUMBERS = [0, 1, 2, 3, 4, -1, 127, 128, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1]
REALS = [0.0, 0.1, 0.5, 1.5, -1.0, float("nan"), float("inf"), float("-inf"), 1e300, 5e-324, 1 - 2**-53]
WORDS = [b"", b"\0" * 16, b"\xff" * 16, b"\x01\0\0\0a", b"x" * 4000]


class Method:
    """A method that reflection told of."""

    def __init__(self, service, method):
        self.path = f"/{service}/{method.name}"
        self.client_streaming = method.client_streaming
        self.server_streaming = method.server_streaming
        self.request_class = message_factory.GetMessageClass(method.input_type)

    def call(self, channel, payloads, metadata):
        """Send raw bytes and return the code of the answer and its sentence."""
        kinds = ["unary", "stream"]
        kind = f"{kinds[self.client_streaming]}_{kinds[self.server_streaming]}"
        stub = getattr(channel, kind)(self.path)
        streams = self.client_streaming or self.server_streaming
        options = {"timeout": STREAM_S_MAX if streams else UNARY_S_MAX, "metadata": metadata}
        try:
            answer = stub(iter(payloads) if self.client_streaming else payloads[0], **options)
            if self.server_streaming:
                for _, _ in zip(answer, range(100), strict=False):
                    pass
                answer.cancel()
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


def methods_of(channel):
    """Return every method of every service on a port."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    services = [pool.FindServiceByName(name) for name in database.get_services()]
    return [Method(service.full_name, method) for service in services for method in service.methods]


class Forge:
    """Makes payloads: messages that fit the contract, the same with damage, and plain noise."""

    def __init__(self, seed):
        self.rng = random.Random(seed)  # noqa: S311  (a fuzzer)

    def payload(self, request_class):
        rng = self.rng
        if rng.random() < 0.1:
            return rng.randbytes(rng.choice([0, 1, 7, 100, 5000]))
        message = request_class()
        self._fill(message, 0)
        data = message.SerializeToString()
        return data if rng.random() < 0.5 else self._damage(data)

    def metadata(self):
        rng = self.rng
        if rng.random() < 0.7:
            return ()
        keys = ["turnout-unit-id", "turnout-event-time-us", "turnout-actor", "turnout-entity-x", "traceparent", "x"]
        text = "".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(40))).strip()
        return ((rng.choice(keys), text),)

    def _fill(self, message, depth):
        rng = self.rng
        for field in message.DESCRIPTOR.fields:
            if rng.random() < 0.4:
                continue
            if field.message_type is not None and depth >= DEPTH_MAX:
                continue
            if field.is_repeated:
                self._fill_repeated(message, field, depth)
            elif field.message_type is not None:
                part = getattr(message, field.name)
                part.SetInParent()
                self._fill(part, depth + 1)
            else:
                setattr(message, field.name, self._value(field))

    def _fill_repeated(self, message, field, depth):
        into = getattr(message, field.name)
        for _ in range(self.rng.choice([0, 1, 1, 2, 5])):
            if field.message_type is None:
                into.append(self._value(field))
            elif field.message_type.GetOptions().map_entry:
                key, value = field.message_type.fields
                if value.message_type is not None:
                    self._fill(into[self._value(key)], depth + 1)
                else:
                    into[self._value(key)] = self._value(value)
            else:
                self._fill(into.add(), depth + 1)

    def _value(self, field):
        rng = self.rng
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return rng.choice(WORDS)
            return rng.choice(TEXTS)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice([value.number for value in field.enum_type.values])
        if kind in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}:
            return rng.choice(REALS)
        bits = 32 if kind in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32} else 64
        signed = kind in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return rng.choice([number for number in NUMBERS if low <= number <= high])

    def _damage(self, data):
        """Return bytes with a few of them flipped, cut, doubled, or put in."""
        rng = self.rng
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(damaged) + 1)
            match rng.randrange(5):
                case 0 if at < len(damaged):
                    damaged[at] ^= 1 << rng.randrange(8)
                case 1:
                    del damaged[at:]
                case 2:
                    damaged[at:at] = rng.randbytes(rng.randrange(1, 9))
                case 3:
                    damaged[at:at] = b"\xff" * rng.randrange(1, 11)
                case _:
                    damaged += damaged[:at]
        return bytes(damaged)


class Attack:
    """Threads that call every method again and again, and what they were told."""

    def __init__(self, gateway, seed):
        self.gateway = gateway
        self.seed = seed
        self.told = Counter()
        self.lock = threading.Lock()

    def run(self, seconds):
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._strike, args=(place, until)) for place in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seed += THREADS

    def _strike(self, place, until):
        forge = Forge(self.seed + place)
        with self.gateway.data_channel() as data, self.gateway.control_channel() as control:
            targets = [(channel, method) for channel in (data, control) for method in methods_of(channel)]
            while time.monotonic() < until:
                forge.rng.shuffle(targets)
                for channel, method in targets:
                    payloads = [forge.payload(method.request_class) for _ in range(forge.rng.choice([1, 1, 2, 9]))]
                    told = method.call(channel, payloads, forge.metadata())
                    with self.lock:
                        self.told[(method.path, *told)] += 1
                    if time.monotonic() > until:
                        break


def resident_bytes(pids):
    return {pid: psutil.Process(pid).memory_info().rss for pid in pids}


def withstand(gateway, operator, seconds):
    """Attack a gateway for a time; hold that it is as whole as before, and say what it answered."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  (so that a failure can be run again)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 4.0)
    operator.publish("plain", 5.0, alias="champion")
    operator.wait()
    operator.start_experiment("m", name="e")
    attack = Attack(gateway, seed)
    attack.run(seconds / 3)  # caches fill
    before = resident_bytes(gateway.pids)
    attack.run(seconds * 2 / 3)
    after = resident_bytes(gateway.pids)  # raises when one has died
    growth = {pid: after[pid] - before[pid] for pid in before}
    assert max(growth.values()) < GROWTH_BYTES_MAX, growth
    assert [(worker.pid in gateway.pids, worker.restarts) for worker in operator.status().workers] == [(True, 0)]
    operator.publish("after", 3.0, alias="champion")
    operator.wait()
    assert operator.predict("after").version == 1
    return attack.told, growth


def complaints(told):
    """Return the answers that say that something went wrong inside."""
    return {
        key: count
        for key, count in told.items()
        # Of grpcio's own services grpcio itself says INTERNAL to what is no message of the method's type.
        if key[1] in {"UNKNOWN", "INTERNAL"} and not (key[0].startswith("/grpc.") and "deserializing" in key[2])
    }


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_bytes_of_all_kinds_leave_the_gateway_whole(launch, operate, tmp_path, transport):
    gateway = launch(tmp_path / "state", "--transport", transport)
    told, _ = withstand(gateway, operate(gateway), seconds=6)
    assert len({path for path, _, _ in told}) > 40
    assert complaints(told) == {}
    assert gateway.stop() == 0


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_bytes_of_all_kinds_for_minutes_leave_the_gateway_whole(launch, operate, tmp_path, transport):
    gateway = launch(tmp_path / "state", "--transport", transport)
    told, growth = withstand(gateway, operate(gateway), seconds=300)
    codes = Counter()
    for (_, code, _), count in told.items():
        codes[code] += count
    methods = len({path for path, _, _ in told})
    print(f"{transport}: {sum(codes.values())} calls of {methods} methods, {dict(codes)}, growth {growth}")  # noqa: T201
    assert complaints(told) == {}
    assert gateway.stop() == 0

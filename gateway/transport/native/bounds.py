"""What strangers are held to. Every number is per connection unless its name says otherwise."""

from __future__ import annotations

import resource

from ngh2.config import Configuration
from ngh2.enums import Setting

MIB = 1024 * 1024

# How much one turn of the loop reads from a connection and takes from its session; both bound what one may hold up.
READ_BYTES_MAX = 128 * 1024
WRITE_BYTES_MAX = 256 * 1024
ACCEPTS_PER_TURN_MAX = 64

STREAMS_MAX = 1024
STREAM_WINDOW_BYTES = 256 * 1024
# A request that says it is larger gets a window of its own size, up to this.
LARGE_WINDOW_BYTES = 4 * MIB
# Streams are held back one by one; the connection's window must hold back nobody.
CONNECTION_WINDOW_BYTES = 2**31 - 1
HEADER_LIST_BYTES_MAX = 16 * 1024

# Bodies that are still arriving, and whole ones that wait for their answer, in multiples of the largest request.
ARRIVING_REQUESTS_MAX = 4
ARRIVING_REQUESTS_PER_WORKER_MAX = 16
# Answers that clients do not read, in multiples of the largest response.
UNREAD_RESPONSES_MAX = 4
UNREAD_RESPONSES_PER_WORKER_MAX = 16
FORWARDED_PER_WORKER_MAX = 1024

# A client that ends more streams than this in a second, or sends more frames that ask for nothing, is told to calm
# down. Either is legitimate in small numbers: deadlines end streams, and grpc-go measures the way with pings.
RESETS_PER_S_MAX = 1000
IDLE_FRAMES_PER_S_MAX = 10_000

ARRIVAL_S_MAX = 60.0
# How long a client may go on sending calls after it was told to go; what comes later is not looked at.
NOTICE_S = 0.1
# How long a connection that is done waits for the client to close first: a close on unread bytes loses answers.
LINGER_S_MAX = 1.0

# Descriptors that are not connections: journals, models, stores, the server behind.
_DESCRIPTORS_RESERVED = 256

SETTINGS = {
    Setting.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTES_MAX,
}

# Windows are opened by hand, so that what is forwarded can hold back its client. The engine's own limits stand behind
# ours: past them it drops the connection without a word.
SERVER = Configuration(
    auto_window_update=False,
    max_outbound_ack=1000,
    max_settings=32,
    stream_reset_rate_limit=(10 * RESETS_PER_S_MAX, RESETS_PER_S_MAX),
    max_continuations=8,
    max_inbound_header_list_size=4 * HEADER_LIST_BYTES_MAX,
    max_inbound_header_count=1024,
    max_send_header_block_length=256 * 1024,
)

CLIENT = Configuration(
    auto_window_update=False,
    peer_max_concurrent_streams=FORWARDED_PER_WORKER_MAX,
    max_send_header_block_length=256 * 1024,
    max_inbound_header_list_size=256 * 1024,
)
CLIENT_SETTINGS = {Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES, Setting.ENABLE_PUSH: 0}


def raise_descriptor_limit() -> int:
    """Let this process have as many open files as it may, and return how many of them can be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, hard - _DESCRIPTORS_RESERVED) if hard != resource.RLIM_INFINITY else 2**20

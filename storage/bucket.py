"""A bucket of an S3-compatible store, by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from storage.errors import InvalidError

if TYPE_CHECKING:
    from obstore.store import S3Config

CALL_TIMEOUT_S = 60
RETRIES_MAX = 3
OPTIONS = ("endpoint", "region", "virtual_hosted_style_request")


class BucketAddressError(InvalidError):
    """An address is not that of a bucket, or says what it cannot say."""

    reason = "BUCKET_ADDRESS"


def open_bucket(url: str) -> S3Store:
    """Return what is at ``s3://bucket/path?endpoint=…&region=…``: the bucket, its keys below the path.

    What the address does not say, and the credentials, the environment does by the names that other clients of S3 know:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION.

    Raises
    ------
    BucketAddressError
        The address is of another kind, or says what it cannot say.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme != "s3" or not parts.hostname:
        raise BucketAddressError(f"{url!r} is not the address of a bucket: s3://bucket/path?endpoint=…")
    if parts.username or parts.password:
        raise BucketAddressError("credentials are given by the environment, never by the address of a bucket")
    if unknown := sorted(options.keys() - {*OPTIONS}):
        raise BucketAddressError(f"the address of a bucket says {', '.join(unknown)}; it may say {', '.join(OPTIONS)}")
    try:
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            # The store compares what arrives with a digest too.
            config=cast("S3Config", {"aws_checksum_algorithm": "SHA256", **options}),
            client_options={"allow_http": True, "timeout": f"{CALL_TIMEOUT_S}s"},
            retry_config={"max_retries": RETRIES_MAX},
        )
    except BaseError as error:
        raise BucketAddressError(f"the bucket cannot be opened: {str(error)[:300]}") from error

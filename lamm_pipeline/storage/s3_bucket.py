"""Objects below a prefix of an S3 bucket, with sentences instead of botocore's errors. The one module that knows boto3.

Credentials come from boto3's own chain (environment, profile, role) and appear nowhere else: sentences are built from error codes and never
from what a server or botocore wrote.
"""

import hashlib
import logging
import mimetypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)
from botocore.exceptions import ConnectionError as NotConnectedError

from lamm_pipeline.errors import InputError

PARALLEL_FILES = 8
PARALLEL_PARTS = 4
PART_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
LARGEST_COPY = 5 * 1024**3
LONGEST_LINK_S = 7 * 86_400

_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9!_.*'()/-]*))?")
_MISSING = frozenset({"NoSuchKey", "404"})
_UNKNOWN_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidClientTokenId"}
)
_OTHER_REGION = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"})
_PASSING = frozenset(
    {"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests", "NoSuchUpload", "OperationAborted", "BadDigest", "429"}
)


@dataclass(frozen=True)
class StoredObject:
    """An object of the bucket.

    Attributes:
        name: relative to the prefix.
        size: in bytes.
        modified: time stamp, by the server's clock and to the second.
    """

    name: str
    size: int
    modified: float


@dataclass(frozen=True)
class UnfinishedUpload:
    """A multipart upload that nobody has completed."""

    name: str
    upload_id: str
    started: float


class Bucket:
    """What lies below `s3://<name>/<prefix>`. Names of objects are relative to the prefix. Safe to use from many threads."""

    def __init__(self, address: str, endpoint: str | None = None, *, part_bytes: int = PART_BYTES) -> None:
        """Nothing is connected to before the first use.

        Args:
            address: `s3://bucket` or `s3://bucket/prefix`.
            endpoint: URL of a server that is not Amazon's.
            part_bytes: files from this size on are sent in parts of it, which S3 wants to be 5 MiB at least.

        Raises:
            InputError: one of them is none.
        """
        match = _ADDRESS.fullmatch(address)
        prefix = match["prefix"].strip("/") if match and match["prefix"] else ""
        if match is None or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
            raise InputError(
                "LAMM_STORE is no address of a bucket. Write s3://BUCKET or s3://BUCKET/PREFIX; credentials have no place in it."
            )
        if endpoint is not None and (
            urlsplit(endpoint).scheme not in {"http", "https"} or "@" in endpoint or not urlsplit(endpoint).hostname
        ):
            raise InputError("LAMM_S3_ENDPOINT is no address of a server. Write http(s)://HOST:PORT; credentials have no place in it.")
        self.name = match["bucket"]
        self.prefix = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint
        self._transfer = TransferConfig(multipart_threshold=part_bytes, multipart_chunksize=part_bytes, max_concurrency=PARALLEL_PARTS)

    def address(self, name: str) -> str:
        """Where an object lies, for people."""
        return f"s3://{self.name}/{self.prefix}{name}"

    def read(self, name: str) -> bytes | None:
        """Content of a small object, None when there is none."""
        with self._sentences():
            try:
                return bytes(self._client.get_object(**self._at(name))["Body"].read())
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def write(self, name: str, data: bytes) -> None:
        """Put a small object, or replace it."""
        with self._sentences():
            self._client.put_object(**self._at(name), Body=data, ContentType=_content_type(name))

    def upload(self, path: Path, name: str) -> None:
        """Put a file, in parts when it is large. The object is there as a whole or not at all."""
        with self._sentences():
            extra = {"ContentType": _content_type(name)}
            if path.stat().st_size < self._transfer.multipart_threshold:
                with path.open("rb") as file:
                    self._client.put_object(**self._at(name), Body=file, **extra)
            else:
                self._client.upload_file(str(path), self.name, self.prefix + name, ExtraArgs=extra, Config=self._transfer)

    def copy(self, source: str, name: str, size: int) -> bool:
        """Let the server copy an object; False if it cannot, because the source is gone or too large."""
        if size > LARGEST_COPY:
            return False
        with self._sentences():
            try:
                self._client.copy_object(**self._at(name), CopySource={"Bucket": self.name, "Key": self.prefix + source})
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
        return True

    def download(self, name: str, file: IO[bytes] | None = None) -> str:
        """Read an object as a stream.

        Args:
            name: of the object.
            file: where to write it, if anywhere.

        Returns:
            Hex SHA-256 of what came.

        Raises:
            FileNotFoundError: there is no such object.
        """
        digest = hashlib.sha256()
        with self._sentences():
            try:
                body = self._client.get_object(**self._at(name))["Body"]
            except ClientError as error:
                if _code(error) in _MISSING:
                    raise FileNotFoundError(f"{self.address(name)} is missing") from None
                raise
            for chunk in body.iter_chunks(CHUNK_BYTES):
                digest.update(chunk)
                if file is not None:
                    file.write(chunk)
        return digest.hexdigest()

    def below(self, folder: str) -> Iterator[StoredObject]:
        """All objects below `folder/`, in the order of their names."""
        with self._sentences():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=f"{self.prefix}{folder}/"):
                for each in page.get("Contents", ()):
                    yield StoredObject(each["Key"].removeprefix(self.prefix), each["Size"], each["LastModified"].timestamp())

    def find(self, name: str) -> StoredObject | None:
        """One object, None when there is none."""
        with self._sentences():
            try:
                head = self._client.head_object(**self._at(name))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
        return StoredObject(name, head["ContentLength"], head["LastModified"].timestamp())

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly below `folder/`."""
        start = f"{self.prefix}{folder}/"
        with self._sentences():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=start, Delimiter="/")
            return [each["Prefix"].removeprefix(start).rstrip("/") for page in pages for each in page.get("CommonPrefixes", ())]

    def remove(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._sentences():
            self._client.delete_object(**self._at(name))

    def unfinished(self, folder: str) -> list[UnfinishedUpload]:
        """Multipart uploads to below `folder/` that nobody has completed."""
        with self._sentences():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=f"{self.prefix}{folder}/")
            return [
                UnfinishedUpload(each["Key"].removeprefix(self.prefix), each["UploadId"], each["Initiated"].timestamp())
                for page in pages
                for each in page.get("Uploads", ())
            ]

    def abort(self, upload: UnfinishedUpload) -> None:
        """Throw away the parts of an upload."""
        with self._sentences():
            self._client.abort_multipart_upload(**self._at(upload.name), UploadId=upload.upload_id)

    def link(self, name: str, seconds: int) -> str:
        """A signed address of an object that a browser can open.

        Raises:
            InputError: it should hold for less than a second or longer than seven days.
        """
        if not 1 <= seconds <= LONGEST_LINK_S:
            raise InputError(f"A link can hold for 1 to {LONGEST_LINK_S} seconds (seven days), not for {seconds}.")
        with self._sentences():
            return str(self._client.generate_presigned_url("get_object", Params=self._at(name), ExpiresIn=seconds))

    @cached_property
    def _client(self) -> Any:
        for noisy in ("botocore", "s3transfer", "urllib3"):
            logging.getLogger(noisy).setLevel(logging.WARNING)  # at DEBUG they log signed headers and session tokens
        with self._sentences():
            session = boto3.session.Session()
            return session.client(
                "s3",
                endpoint_url=self._endpoint,
                region_name=session.region_name or "us-east-1",
                config=Config(
                    signature_version="s3v4",
                    retries={"mode": "standard", "total_max_attempts": 5},
                    max_pool_connections=PARALLEL_FILES * PARALLEL_PARTS,
                    connect_timeout=10,
                    s3={"addressing_style": "auto" if self._endpoint is None else "path"},
                ),
            )

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": self.prefix + name}

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Botocore's errors as ours: `InputError` for what a person can mend, `ConnectionError` for what passes."""
        try:
            yield
        except (ClientError, S3UploadFailedError) as error:
            cause = error if isinstance(error, ClientError) else error.__context__
            if not isinstance(cause, ClientError):
                raise
            raise self._of_answer(cause) from None
        except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound):
            raise InputError(
                f"There are no credentials for {self._server}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            ) from None
        except SSLError:
            raise InputError(
                f"The certificate of {self._server} is not trusted. Set AWS_CA_BUNDLE to its authority's file, or correct LAMM_S3_ENDPOINT."
            ) from None
        except (NotConnectedError, HTTPClientError, IncompleteReadError) as error:
            raise ConnectionError(
                f"{self._server} cannot be reached, or broke off ({type(error).__name__}). Check the network and LAMM_S3_ENDPOINT"
            ) from None
        except BotoCoreError as error:
            raise InputError(f"S3 is not set up: {type(error).__name__}. Check AWS_* and LAMM_S3_ENDPOINT.") from None

    def _of_answer(self, error: ClientError) -> Exception:
        """What an answer of the server that is an error means."""
        code, status = _code(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _PASSING or status >= 500:
            return ConnectionError(f"{self._server} could not do {error.operation_name} now ({code})")
        if code == "NoSuchBucket":
            sentence = f"{self._server} has no bucket {self.name!r}. Create it, or correct LAMM_STORE."
        elif code == "RequestTimeTooSkewed":
            sentence = f"The clock of this machine differs too much from that of {self._server}. Set it, for example by NTP."
        elif code in _UNKNOWN_CREDENTIALS:
            sentence = f"{self._server} does not accept the credentials ({code}). Check AWS_ACCESS_KEY_ID and what belongs to it."
        elif code in _OTHER_REGION:
            sentence = f"The bucket {self.name!r} lies in another region ({code}). Set AWS_DEFAULT_REGION to its region."
        elif status == 403:
            sentence = (
                f"{self._server} denies {error.operation_name} in bucket {self.name!r} ({code}). Allow s3:ListBucket, "
                "s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below the prefix."
            )
        else:
            sentence = f"{self._server} refuses {error.operation_name} in bucket {self.name!r} ({code}). Check LAMM_STORE and the bucket."
        return InputError(sentence)

    @property
    def _server(self) -> str:
        return f"The S3 server {self._endpoint}" if self._endpoint else "Amazon S3"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _content_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"

"""Files in S3, or in a store that speaks its protocol: s3://BUCKET/KEY, a prefix (the files directly below it), or a
glob. Endpoint, region and credentials are those of the AWS tools: AWS_ENDPOINT_URL, AWS_DEFAULT_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
from botocore import exceptions as faults
from botocore.config import Config

from training.data.files import FORMATS, digest, suffix
from training.errors import SourceAway, SourceError

_QUICK = Config(connect_timeout=3, read_timeout=60, retries={"total_max_attempts": 2})
_CREDENTIALS = "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the file AWS_SHARED_CREDENTIALS_FILE."
_HINTS = {
    "NoSuchBucket": "Correct the name of the bucket; is AWS_ENDPOINT_URL the store that has it?",
    "AccessDenied": "Let these credentials list the bucket and read its objects: s3:ListBucket, s3:GetObject.",
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": "Fetch new credentials: these have expired.",
}


def copy(place: str, shown: str, folder: Path) -> str:
    """Downloads the files that `place` names into `folder`, and returns the digest of their content.

    Raises SourceError, SourceAway.
    """
    bucket, _, key = place.removeprefix("s3://").partition("/")
    if "@" in bucket:
        raise SourceError(f"{shown}: found credentials in the address", f"Write s3://BUCKET/KEY. {_CREDENTIALS}")
    try:
        client: Any = boto3.Session().client("s3", config=_QUICK)
        keys = _keys(client, bucket, key)
        if not keys:
            hint = f"Expected a key, a prefix with files such as {', '.join(FORMATS)} directly below it, or a glob."
            raise SourceError(f"{shown}: no such object", hint)
        names = [Path(one).name for one in keys]
        for number, (one, name) in enumerate(zip(keys, names, strict=True), 1):
            own = name if names.count(name) == 1 else f"{number:05}-{name}"  # of several folders
            client.download_file(bucket, one, str(folder / own))
    except faults.ClientError as error:
        found, status = error.response["Error"], error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        said = f"{found.get('Message') or 'refused'} ({found.get('Code')})"
        if status >= 500:
            raise SourceAway(shown, said) from None
        hint = _HINTS.get(found.get("Code", ""), "Is AWS_ENDPOINT_URL a store that speaks the protocol of S3?")
        raise SourceError(f"{shown}: {said}", hint) from None
    except (faults.ConnectionError, faults.HTTPClientError) as error:
        raise SourceAway(shown, re.sub(r'\?[^"\s]*', "", str(error))) from None
    except faults.NoCredentialsError:
        raise SourceError(f"{shown}: found no credentials", _CREDENTIALS) from None
    except (faults.BotoCoreError, ValueError) as error:  # a bucket's name, a profile, an endpoint that is none
        raise SourceError(f"{shown}: {error}", "Correct the address, or the AWS_* variable that is named.") from None
    return digest(sorted(folder.iterdir()), {})


def _keys(client: Any, bucket: str, key: str) -> list[str]:
    """The keys that a key, a prefix or a glob names, in order."""
    fixed = re.split(r"[*?\[]", key)[0]
    if fixed != key:
        parts, whole = key.split("/"), "/" in key[len(fixed) :]
        found = [one.split("/") for one in _listed(client, bucket, fixed, "" if whole else "/")]
        return [
            "/".join(one) for one in found if len(one) == len(parts) and all(map(fnmatchcase, one, parts)) and one[-1]
        ]
    if key and not key.endswith("/") and key in _listed(client, bucket, key, "/"):
        return [key]
    below = _listed(client, bucket, f"{key.rstrip('/')}/" if key else "", "/")
    return [one for one in below if suffix(Path(one)) in FORMATS and not Path(one).name.startswith(".")]


def _listed(client: Any, bucket: str, prefix: str, delimiter: str) -> Iterator[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter=delimiter)
    return (found["Key"] for page in pages for found in page.get("Contents", ()))

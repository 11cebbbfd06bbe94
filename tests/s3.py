"""An S3 server of our own for tests: moto's, on loopback, within this process; with it, histories on S3."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from functools import cache
from pathlib import Path

from storage.s3 import S3Path, s3_path

BUCKET = "archive"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "of-no-worth",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@cache
def s3_environment() -> dict[str, str]:
    """What reaches this process's server, started when first asked for; it has one bucket, and ends with the process."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update(ENVIRONMENT)  # Arrow reads them itself
    address = f"{host}:{port}"
    made = fs.S3FileSystem(endpoint_override=address, scheme="http", allow_bucket_creation=True)
    made.create_dir(BUCKET, recursive=False)
    return {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{address}"}


def s3_folder(locks: Path | None = None) -> S3Path:
    """A folder that nobody has used; its locks lie in this folder of the machine."""
    state = (locks or Path(tempfile.mkdtemp())) / "state.sqlite"
    return s3_path(f"s3://{BUCKET}/{uuid.uuid4().hex}", s3_environment(), f"sqlite:///{state}")

"""MiniStack, an emulator of AWS, as a child process: on a free port of 127.0.0.1, in a throwaway folder."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from dev.emulator.errors import EmulatorError
from dev.paths import ROOT

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
START_SECONDS = 120
LOG_LINES = 15


class Emulator:
    """Use as a context manager; `enforce_policies` makes it check the functions' permissions.

    `host` is the address that it listens on, and `settings` are further environment variables of MiniStack.
    """

    def __init__(
        self,
        *,
        enforce_policies: bool = False,
        host: str = "127.0.0.1",
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.enforce_policies = enforce_policies
        self.host = host
        self.settings = settings
        self.endpoint = ""
        self.port = 0
        self.folder = Path()
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="manifest-builder-"))
        self.port = free_port(self.host)
        self.endpoint = f"http://{self.host}:{self.port}"
        with self.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "dev.emulator.guard", str(self.folder), sys.executable, "-m", "ministack"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**emulator_environment(self.folder, self.host, self.port, self.enforce_policies), **self.settings},
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        died = isinstance(error, BotoCoreError) and not self._is_alive()
        last_words = self._end_of_log()
        self.stop()
        if died:
            raise EmulatorError(f"the emulator has stopped.\n{last_words}") from error

    @property
    def log(self) -> Path:
        return self.folder / "emulator.log"

    def stop(self) -> None:
        """Close the guard's pipe, the same signal that our death would be, and wait until all is gone."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None
            # The guard has done this, unless it was killed itself.
            shutil.rmtree(self.folder, ignore_errors=True)

    def check_alive(self) -> None:
        """Raise EmulatorError with the end of the log if the emulator has died."""
        if not self._is_alive():
            raise EmulatorError(f"the emulator has stopped.\n{self._end_of_log()}")

    def _is_alive(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def environment(self) -> dict[str, str]:
        """Environment variables with which `aws` commands and boto3 use the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **CREDENTIALS,
            # StartSyncExecution would go to sync-127.0.0.1 otherwise. Never set this against AWS.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }

    def _wait_until_ready(self) -> None:
        # The machine's own proxies must not be asked for an address of this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                with opener.open(f"{self.endpoint}/_ministack/ready", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise EmulatorError(f"the emulator was not ready after {START_SECONDS} s.\n{self._end_of_log()}")

    def _end_of_log(self) -> str:
        if not self.log.exists():
            return "(its folder is gone)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    @cached_property
    def _session(self) -> boto3.Session:
        # Nothing of the user's own AWS configuration: a run must not reach a real account.
        nothing = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull}
        core = botocore.session.Session(
            session_vars={name: (None, None, value, None) for name, value in nothing.items()}
        )
        core.set_credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
        core.set_config_variable("region", REGION)
        core.set_default_client_config(
            Config(
                proxies={},
                inject_host_prefix=False,
                s3={"addressing_style": "path"},
                max_pool_connections=32,
                read_timeout=130,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
        )
        return boto3.Session(botocore_session=core)

    @cached_property
    def s3(self) -> "S3Client":
        return self._session.client("s3", endpoint_url=self.endpoint)

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        return self._session.client("cloudformation", endpoint_url=self.endpoint)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        return self._session.client("dynamodb", endpoint_url=self.endpoint)

    @cached_property
    def glue(self) -> "GlueClient":
        return self._session.client("glue", endpoint_url=self.endpoint)

    @cached_property
    def events(self) -> "EventBridgeClient":
        return self._session.client("events", endpoint_url=self.endpoint)

    @cached_property
    def sqs(self) -> "SQSClient":
        return self._session.client("sqs", endpoint_url=self.endpoint)

    @cached_property
    def ssm(self) -> "SSMClient":
        return self._session.client("ssm", endpoint_url=self.endpoint)

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        return self._session.client("logs", endpoint_url=self.endpoint)

    @cached_property
    def lambda_(self) -> "LambdaClient":
        return self._session.client("lambda", endpoint_url=self.endpoint)

    @cached_property
    def stepfunctions(self) -> "SFNClient":
        return self._session.client("stepfunctions", endpoint_url=self.endpoint)

    @cached_property
    def iam(self) -> Any:
        return self._session.client("iam", endpoint_url=self.endpoint)


def emulator_environment(folder: Path, host: str, port: int, enforce_policies: bool) -> dict[str, str]:
    """A clean environment: the functions inherit it, and the machine's own must not leak into them."""
    return {
        # The job runs `python3` of the PATH, with boto3 installed.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "BIND_HOST": host,
        "GATEWAY_PORT": str(port),
        "S3_DATA_DIR": str(folder / "s3"),
        "PERSIST_STATE": "0",
        "AUTH": "true" if enforce_policies else "false",
        # Servers and tools that the run does not need.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent.sock",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        **CREDENTIALS,
    }


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port

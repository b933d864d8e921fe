"""The emulator's environment."""

from pathlib import Path

import pytest

from dev.emulator.emulator import Emulator, emulator_environment


def test_nothing_of_the_machines_environment_reaches_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("MAX_BATCH_SIZE_GB", "9")
    environment = emulator_environment(Path("/throwaway"), "127.0.0.1", 4567, enforce_policies=False)
    assert not environment.keys() & {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH", "MAX_BATCH_SIZE_GB"}
    assert environment["HOME"] == "/throwaway"


def test_the_emulator_listens_on_this_machine_only_unless_told_otherwise() -> None:
    environment = emulator_environment(Path("/throwaway"), Emulator().host, 4567, enforce_policies=False)
    assert environment["BIND_HOST"] == "127.0.0.1"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4567"


def test_the_clients_of_a_run_ignore_the_users_own_aws_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "there-is-no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.amazonaws.com")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    emulator = Emulator()
    emulator.endpoint = "http://127.0.0.1:4567"
    assert emulator.s3.meta.endpoint_url == "http://127.0.0.1:4567"
    assert emulator.s3.meta.region_name == "us-east-1"
    assert vars(emulator.s3.meta.config)["proxies"] == {}

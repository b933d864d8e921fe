"""Captures log lines and metrics of the functions."""

import io
import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from aws_lambda_powertools.metrics.provider.cloudwatch_emf import cloudwatch as powertools

from manifest_builder.telemetry import logger

Metric = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, and (name, value) of each dimension."""


class Telemetry:
    """Log lines, as dictionaries, and metrics since the capture began."""

    def __init__(self) -> None:
        self.log_output, self.metric_output = io.StringIO(), io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_output.getvalue().splitlines()]

    def at_least(self, level: str) -> list[dict[str, Any]]:
        least = logging.getLevelNamesMapping()[level]
        return [line for line in self.lines if logging.getLevelNamesMapping()[line["level"]] >= least]

    @property
    def metric_values(self) -> dict[Metric, list[float]]:
        """The values of each metric with its dimensions, as CloudWatch would read them out of the log."""
        values: dict[Metric, list[float]] = defaultdict(list)
        for line in self.metric_output.getvalue().splitlines():
            document = json.loads(line)
            for directive in document["_aws"]["CloudWatchMetrics"]:
                for dimensions in directive["Dimensions"]:
                    named = frozenset((dimension, document[dimension]) for dimension in dimensions)
                    for metric in directive["Metrics"]:
                        values[directive["Namespace"], metric["Name"], named] += document[metric["Name"]]
        return dict(values)

    @property
    def metrics(self) -> dict[str, float]:
        """The sum of each metric over all dimensions."""
        sums: dict[str, float] = defaultdict(float)
        for (_, name, _), values in self.metric_values.items():
            sums[name] += sum(values)
        return dict(sums)


@contextmanager
def captured(level: str = "DEBUG") -> Iterator[Telemetry]:
    """Sets the log level of the functions, and captures their output."""
    telemetry = Telemetry()
    (handler,) = logger.handlers
    previous_level = logger.log_level
    previous_stream = handler.setStream(telemetry.log_output)  # type: ignore[attr-defined]
    logger.setLevel(level)
    try:
        print_metrics = partial(print, file=telemetry.metric_output)
        with mock.patch.object(powertools, "print", print_metrics, create=True):
            yield telemetry
    finally:
        logger.setLevel(previous_level)
        handler.setStream(previous_stream)  # type: ignore[attr-defined]

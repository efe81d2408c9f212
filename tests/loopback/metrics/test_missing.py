"""Without an extra the import says in one line how to have it."""

import importlib
import sys

import pytest

import aiomcast


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [
        ("PrometheusCollector", "prometheus", "prometheus_client.core", "prometheus"),
        ("instrument", "opentelemetry", "opentelemetry.metrics", "opentelemetry"),
    ],
)
def test_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"aiomcast.metrics.{module}", raising=False)
    metrics = importlib.import_module("aiomcast.metrics")
    with pytest.raises(ImportError, match=rf"pip install 'aiomcast\[{extra}\]'") as raised:
        getattr(metrics, name)
    assert isinstance(raised.value, aiomcast.MulticastError)

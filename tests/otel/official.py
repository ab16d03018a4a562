"""Has official Airflow's own logger tell a collector of OpenTelemetry what the calls on standard input are."""

import json
import sys
from datetime import timedelta

from airflow.observability import stats
from airflow.observability.metrics.otel_logger import get_otel_logger
from opentelemetry import metrics

stats.initialize(factory=get_otel_logger, export_legacy_names=True)
for call in json.load(sys.stdin):
    name, value, tags = call["name"], call["value"], call.get("tags")
    match call["kind"]:
        case "incr":
            stats.incr(name, value, tags=tags)
        case "decr":
            stats.decr(name, value, tags=tags)
        case "gauge":
            stats.gauge(name, value, tags=tags)
        case "timing":
            stats.timing(name, timedelta(milliseconds=value), tags=tags)
        case kind:
            sys.exit(f"{kind} is no kind of call")
metrics.get_meter_provider().force_flush()

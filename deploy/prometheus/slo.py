#!/usr/bin/env python3
"""Writes rules/slo.yml: the service-level objectives as recorded error ratios and multi-window burn-rate alerts.

    deploy/prometheus/slo.py            writes it
    deploy/prometheus/slo.py --check    says whether it is up to date
"""
import pathlib
import sys

TARGET = pathlib.Path(__file__).parent / "rules" / "slo.yml"
# 99.9 % over 30 days.
BUDGET = 0.001

# What went wrong and all that was tried, each as a sum of rates over a window. A counter that has never counted is not
# there: it counts as 0, and where nothing was tried there is no ratio.
OBJECTIVES = {
    "accept_errors": (
        "messages that were refused because the bus or the tables did not take them",
        'sum(rate(parlor_messages_rejected_total{{code="unavailable"}}[{w}])) or vector(0)',
        "sum(rate(parlor_messages_accepted_total[{w}])) or vector(0)",
    ),
    "accept_slow": (
        "messages that were accepted later than 0.5 s after they came",
        'sum(rate(parlor_accept_seconds_count[{w}])) - sum(rate(parlor_accept_seconds_bucket{{le="0.5"}}[{w}]))',
        'sum(rate(parlor_accept_seconds_bucket{{le="0.5"}}[{w}]))',
    ),
    "delivery_slow": (
        "messages that were written to a client's socket later than 1 s after they were sent",
        'sum(rate(parlor_end_to_end_seconds_count[{w}])) - sum(rate(parlor_end_to_end_seconds_bucket{{le="1"}}[{w}]))',
        'sum(rate(parlor_end_to_end_seconds_bucket{{le="1"}}[{w}]))',
    ),
}
NAMES = {
    "accept_errors": ("ParlorAcceptErrorBudget", "Messages are refused"),
    "accept_slow": ("ParlorAcceptSlow", "Messages are accepted late"),
    "delivery_slow": ("ParlorDeliverySlow", "Messages are delivered late"),
}
WINDOWS = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"]
# Burn rate, long window, short window, for, severity: 2 % of the month's budget in an hour, 5 % in six, 10 % in a day,
# 10 % in three days.
BURNS = [
    (14.4, "1h", "5m", "2m", "page"),
    (6, "6h", "30m", "15m", "page"),
    (3, "1d", "2h", "1h", "ticket"),
    (1, "3d", "6h", "3h", "ticket"),
]


def rules():
    lines = [
        "# Written by deploy/prometheus/slo.py: change that and run it.",
        "groups:",
        "  - name: parlor.slo.ratios",
        "    interval: 30s",
        "    rules:",
    ]
    for key, (_, bad, good) in OBJECTIVES.items():
        for window in WINDOWS:
            b, g = bad.format(w=window), good.format(w=window)
            lines += [
                f"      - record: parlor:{key}:ratio_rate{window}",
                f"        expr: ({b}) / ((({b}) + ({g})) > 0)",
            ]
    lines += ["  - name: parlor.slo.alerts", "    rules:"]
    for key, (what, _, _) in OBJECTIVES.items():
        alert, summary = NAMES[key]
        for burn, long, short, wait, severity in BURNS:
            limit = f"{burn * BUDGET:.4g}"
            lines += [
                f"      - alert: {alert}",
                f"        expr: parlor:{key}:ratio_rate{long} > {limit} and parlor:{key}:ratio_rate{short} > {limit}",
                f"        for: {wait}",
                "        labels:",
                f"          severity: {severity}",
                f"          window: {long}",
                "        annotations:",
                f"          summary: {summary}",
                "          description: >-",
                f"            {{{{ $value | humanizePercentage }}}} in {long} of all: {what}. At this rate the budget of 30 days",
                f"            (0.1 %) is used {burn:g} times over.",
                f"          runbook: docs/operations.md#{alert.lower()}",
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wanted = rules()
    if "--check" not in sys.argv:
        TARGET.write_text(wanted)
    elif TARGET.read_text() != wanted:
        sys.exit(f"{TARGET}: not what slo.py writes: run it")

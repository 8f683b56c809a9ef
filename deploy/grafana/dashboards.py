#!/usr/bin/env python3
"""Writes dashboards/*.json for Grafana 11 and later. A panel is one line here; what is not said is as everywhere.

    deploy/grafana/dashboards.py            writes them
    deploy/grafana/dashboards.py --check    says whether they are up to date

Every query is held to the metrics that the program declares by tests/it/deploy.rs.
"""
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
# Which nodes: all of a job, or those chosen.
NODES = 'job=~"$job", instance=~"$instance"'
WINDOW = "$__rate_interval"


def panel(title, *queries, unit="short", kind="timeseries", width=8, height=7, says="", stack=False, most=None):
    """A panel. A query is (PromQL, legend); N stands for the chosen nodes, W for the window."""
    return {"title": title, "queries": queries, "unit": unit, "kind": kind, "width": width, "height": height,
            "says": says, "stack": stack, "most": most}


def row(title):
    return {"row": title}


def rate(metric, by="", more=""):
    labels = f"N, {more}" if more else "N"
    over = f" by ({by})" if by else ""
    return f"sum{over} (rate({metric}{{{labels}}}[W]))"


def quantile(q, metric, by="", more=""):
    labels = f"N, {more}" if more else "N"
    over = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({over}) (rate({metric}_bucket{{{labels}}}[W])))"


def quantiles(metric):
    return [(quantile(q, metric), name) for q, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))]


def stat(title, expr, unit="short", says="", width=4):
    return panel(title, (expr, ""), unit=unit, kind="stat", width=width, height=4, says=says)


OVERVIEW = [
    row("Do people get their messages?"),
    stat("Nodes ready", "sum(parlor_ready{N})"),
    stat("People connected", "sum(parlor_sessions{N})", says="Live websockets of all nodes."),
    stat("Accepted a second", rate("parlor_messages_accepted_total"), "cps"),
    stat("Sent to written, 99 %", quantile(0.99, "parlor_end_to_end_seconds"), "s",
         says="From sentAt to the write to the reader's socket, of pushed messages."),
    stat("Accepted within, 99 %", quantile(0.99, "parlor_accept_seconds"), "s",
         says="From the draft at the door to durable."),
    stat("Budget of 30 days used", "parlor:accept_errors:ratio_rate3d / 0.001", "percentunit",
         says="1 is all that the objective allows, at the pace of the last three days."),
    panel("Messages a second", (rate("parlor_messages_accepted_total"), "accepted"),
          (rate("parlor_messages_placed_total"), "written into inboxes"),
          (rate("parlor_messages_repeated_total"), "there already"),
          (rate("parlor_deliveries_total"), "places in inboxes"),
          (rate("parlor_end_to_end_seconds_count"), "written to sockets"), unit="cps",
          says="Accepted without written: look at the pipeline. Written into inboxes without sockets: nobody is there."),
    panel("From sent to the reader's socket", *quantiles("parlor_end_to_end_seconds"), unit="s"),
    panel("From sent to handed to sessions", *quantiles("parlor_delivery_delay_seconds"), unit="s",
          says="What is between this and the reader's socket is the bridge, the session and the client's own pace."),
    panel("From the door to accepted", *quantiles("parlor_accept_seconds"), unit="s"),
    panel("Refused a second, by code", (rate("parlor_messages_rejected_total", "code"), "{{code}}"), unit="cps", stack=True),
    panel("Share of messages that the objectives miss", ("parlor:accept_errors:ratio_rate1h", "refused"),
          ("parlor:accept_slow:ratio_rate1h", "accepted after 0.5 s"),
          ("parlor:delivery_slow:ratio_rate1h", "at the reader after 1 s"), unit="percentunit",
          says="Of the last hour; 0.1 % is the objective."),
    panel("What nodes depend on", ("min by (check) (parlor_check_ok{N})", "{{check}}"), kind="state",
          says="1: all nodes pass the check of /readyz. start is 0 while a node starts, draining while one drains."),
    row("Is it Kafka, the tables, or us?"),
    panel("Who is slow, 99 %", ("parlor:part_seconds:p99_5m", "{{part}}"), unit="s", width=24, height=5,
          says="The highest line has the blame; where one is infinite, that part is away. On kafka: from the door to durable, also alone."),
    panel("Kafka or the journal: to be durable, 99 %", (quantile(0.99, "parlor_accept_seconds"), "door to durable"), unit="s"),
    panel("The tables: one transaction of the router, 99 %", (quantile(0.99, "parlor_route_seconds", "instance"), "{{instance}}"),
          unit="s"),
    panel("Us: time at each stage, 99 %", (quantile(0.99, "parlor_stage_seconds", "stage"), "{{stage}}"), unit="s"),
    row("Clients"),
    panel("Websockets", ("sum by (instance) (parlor_sessions{N})", "{{instance}}"), stack=True),
    panel("Opened and come back", (rate("parlor_sessions_opened_total"), "opened"),
          (rate("parlor_sessions_resumed_total"), "came back by seq"),
          (rate("parlor_gaps_healed_total"), "pages of inboxes read"), unit="cps"),
    panel("Closed a second, by reason", (rate("parlor_sessions_closed_total", "reason"), "{{reason}}"), unit="cps", stack=True),
    panel("Not let in a second, by code", (rate("parlor_auth_failed_total", "code"), "{{code}}"), unit="cps", stack=True),
]

PIPELINE = [
    row("Who is slow?"),
    panel("Time at each stage, 99 %", (quantile(0.99, "parlor_stage_seconds", "stage"), "{{stage}}"), unit="s"),
    panel("Time at each stage, half", (quantile(0.5, "parlor_stage_seconds", "stage"), "{{stage}}"), unit="s"),
    panel("Messages a second, by stage", (rate("parlor_stage_seconds_count", "stage"), "{{stage}}"), unit="cps"),
    panel("How full the queues are", ("max by (queue) (parlor_queue_length{N} / parlor_queue_limit{N})", "{{queue}}"),
          unit="percentunit", most=1),
    panel("One transaction of the router", *quantiles("parlor_route_seconds"), unit="s"),
    panel("Transactions that failed", (rate("parlor_route_failed_total", "instance"), "{{instance}}"), unit="cps"),
    panel("Put aside", (rate("parlor_dead_letters_total", "reason"), "{{reason}}"), unit="cps"),
    panel("Stages that ended over a record", (rate("parlor_stage_abandoned_total", "stage"), "{{stage}}"), unit="cps"),
    panel("Shed and overflown", (rate("parlor_shed_total", "kind"), "{{kind}} shed"),
          (rate("parlor_mailbox_overflow_total", "actor"), "mailbox of {{actor}}"), unit="cps"),
    row("Scripts"),
    panel("Runs a second, by verdict", (rate("parlor_script_runs_total", "direction, verdict"), "{{direction}}: {{verdict}}"),
          unit="cps", stack=True),
    panel("Runs that came to nothing", (rate("parlor_script_failures_total", "kind"), "{{kind}}"), unit="cps", stack=True),
    panel("Switched off", (rate("parlor_scripts_switched_off_total", "reason"), "{{reason}}"), unit="cps"),
    panel("Waiting for a script", *quantiles("parlor_script_wait_seconds"), unit="s"),
    panel("Waiting for a worker, 99 %", (quantile(0.99, "parlor_script_queue_wait_seconds", "lane"), "{{lane}}"), unit="s"),
    panel("Time of a run, 99 %", (quantile(0.99, "parlor_script_wall_seconds", "direction"), "{{direction}}, wall"),
          (quantile(0.99, "parlor_script_cpu_seconds", "direction"), "{{direction}}, processor"), unit="s"),
    panel("Workers", ("sum by (lane) (parlor_script_workers{N})", "{{lane}}")),
    panel("Workers killed or dead", (rate("parlor_script_worker_deaths_total", "reason"), "{{reason}}"),
          (rate("parlor_script_worker_starts_total", "lane"), "started: {{lane}}"),
          (rate("parlor_script_reruns_total"), "runs made again"), unit="cps"),
    panel("Owners awake", ("sum by (instance) (parlor_script_runners{N})", "{{instance}}"), stack=True),
    row("What automation makes"),
    panel("Replies of scripts", (rate("parlor_script_replies_total"), "sent"),
          (rate("parlor_script_replies_refused_total"), "beyond what the owner may send"), unit="cps"),
    panel("Auto-replies, by decision", (rate("parlor_auto_replies_total", "decision"), "{{decision}}"), unit="cps", stack=True),
    panel("Entries left out of owners' logs", (rate("parlor_automation_log_left_out_total", "reason"), "{{reason}}"), unit="cps"),
]

NODES_BOARD = [
    row("Nodes"),
    panel("Ready", ("parlor_ready{N}", "{{instance}}"), kind="state"),
    panel("Checks that are not passed", ("parlor_check_ok{N} == 0", "{{instance}}: {{check}}"), kind="state"),
    panel("Websockets", ("parlor_sessions{N}", "{{instance}}")),
    panel("Processors in use", ("rate(parlor_process_cpu_milliseconds_total{N}[W]) / 1000", "{{instance}}"),
          says="Of the process itself; workers of scripts are others."),
    panel("Memory", ("parlor_process_resident_bytes{N}", "{{instance}}"), unit="bytes"),
    panel("Open files, of what is allowed", ("parlor_process_open_files{N} / parlor_process_open_files_limit{N}", "{{instance}}"),
          unit="percentunit", most=1),
    panel("Records in work", ('parlor_queue_length{N, queue="records_in_work"}', "{{instance}}")),
    panel("Passwords in line", ('parlor_queue_length{N, queue="passwords"}', "{{instance}}")),
    panel("Spans sent, and left out, a second", (rate("parlor_spans_exported_total"), "sent"),
          (rate("parlor_spans_dropped_total", "reason"), "left out: {{reason}}")),
    panel("Versions", ("count by (version, commit) (parlor_build_info{N})", "{{version}} {{commit}}"), stack=True),
    panel("Actors started anew", (rate("parlor_actor_restarts_total", "instance, actor"), "{{instance}}: {{actor}}"), unit="cps"),
    row("Between nodes"),
    panel("Nodes with a slot", ("parlor_slots_live{N}", "as {{instance}} knows it"),
          (rate("parlor_slots_lost_total", "reason"), "lost a second: {{reason}}")),
    panel("Clients handed over", (rate("parlor_sessions_handed_over_total", "instance, reason"), "{{instance}}: {{reason}}"),
          unit="cps", says="drain: the node stops. shed: it had more than its share."),
    panel("Redis answers", ("parlor_redis_up{N}", "{{instance}}"), kind="state"),
    panel("Told to other nodes", (rate("parlor_bridge_told_total", "reason"), "{{reason}}"), unit="cps",
          says="everything: it is not known who is there, so all are told. That should be rare."),
    panel("Records of the bridge", (rate("parlor_bridge_records_sent_total"), "sent"),
          (rate("parlor_bridge_records_received_total"), "received"),
          (rate("parlor_bridge_astray_total"), "inboxes nobody here reads"), unit="cps"),
    panel("Failures of the bridge", (rate("parlor_bridge_failed_total", "reason"), "{{reason}}"), unit="cps"),
    panel("Found in the store only", (rate("parlor_catch_up_found_total", "instance"), "{{instance}}"), unit="cps",
          says="Inboxes in which the store had more than this node was told of."),
    panel("Questions to Redis", (rate("parlor_presence_lookups_total", "outcome"), "who is where: {{outcome}}"),
          (rate("parlor_rates_unanswered_total"), "rates unanswered"),
          (rate("parlor_presence_late_total"), "sessions opened before Redis knew"),
          (rate("parlor_presence_cleaned_total"), "entries of the dead removed"), unit="cps"),
]

KAFKA = [
    row("Is it Kafka?"),
    panel("The bus answers", ("parlor_bus_up{N}", "{{instance}}"), kind="state"),
    panel("Brokers alive", ("min(parlor_bus_brokers{N})", "fewest that a node sees"), ("max(parlor_bus_brokers{N})", "most")),
    panel("From the door to acknowledged", *quantiles("parlor_accept_seconds"), unit="s",
          says="Almost all of it is Kafka's acknowledgement by all in-sync copies."),
    panel("Lag by topic", ("sum by (topic) (parlor_bus_lag_records{N})", "{{topic}}"),
          says="Records that are not finished. It rises where a stage is too slow."),
    panel("Lag by node", ("sum by (instance) (parlor_bus_lag_records{N})", "{{instance}}")),
    panel("Partitions by node", ("parlor_bus_partitions{N}", "{{instance}}"), stack=True),
    panel("Records taken a second", (rate("parlor_bus_records_total", "instance"), "{{instance}}"), unit="cps", stack=True),
    panel("Records refused", (rate("parlor_bus_write_errors_total", "instance"), "{{instance}}"),
          (rate("parlor_bus_producers_renewed_total", "instance"), "producer made anew: {{instance}}"), unit="cps"),
    panel("Partitions moved", (rate("parlor_bus_rebalances_total", "kind"), "{{kind}}"), unit="cps"),
    row("What waits"),
    panel("Bytes that wait for the brokers", ('parlor_queue_length{N, queue="bus_bytes"}', "{{instance}}"), unit="bytes"),
    panel("Records in line or in work", ("parlor_bus_unfinished_records{N}", "{{instance}}")),
    panel("The journal of a node alone", ("parlor_bus_segments{N}", "files, {{instance}}"),
          (rate("parlor_bus_batches_total", "instance"), "group commits a second, {{instance}}")),
]

BOARDS = {
    "overview": ("Parlor: overview", OVERVIEW),
    "pipeline": ("Parlor: pipeline and scripts", PIPELINE),
    "nodes": ("Parlor: nodes and cluster", NODES_BOARD),
    "kafka": ("Parlor: Kafka", KAFKA),
}
SOURCE = {"type": "prometheus", "uid": "${source}"}


def options_of(kind):
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    if kind == "state-timeline":
        return {"showValue": "never", "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom"}}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def field_config(spec, kind):
    defaults = {"unit": spec["unit"], "min": 0}
    if spec["most"] is not None:
        defaults["max"] = spec["most"]
    if kind == "timeseries":
        custom = {"fillOpacity": 10, "showPoints": "never"}
        if spec["stack"]:
            custom["stacking"] = {"mode": "normal"}
        defaults["custom"] = custom
    if kind == "state-timeline":
        defaults["mappings"] = [{"type": "value", "options": {
            "0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}}}]
    return {"defaults": defaults, "overrides": []}


def target(number, query):
    expr, legend = query
    expr = expr.replace("{N, ", "{" + NODES + ", ").replace("{N}", "{" + NODES + "}").replace("[W]", f"[{WINDOW}]")
    return {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expr, "legendFormat": legend or "__auto"}


def laid_out(specs):
    x = y = tallest = 0
    for number, spec in enumerate(specs, start=1):
        if "row" in spec:
            y, x, tallest = y + tallest, 0, 0
            yield {"id": number, "type": "row", "title": spec["row"], "collapsed": False, "panels": [],
                   "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
            y += 1
            continue
        if x + spec["width"] > 24:
            y, x, tallest = y + tallest, 0, 0
        kind = "state-timeline" if spec["kind"] == "state" else spec["kind"]
        yield {"id": number, "type": kind, "title": spec["title"], "description": spec["says"], "datasource": SOURCE,
               "gridPos": {"x": x, "y": y, "w": spec["width"], "h": spec["height"]},
               "targets": [target(at, query) for at, query in enumerate(spec["queries"])],
               "fieldConfig": field_config(spec, kind), "options": options_of(kind)}
        x, tallest = x + spec["width"], max(tallest, spec["height"])


def choice(name, label):
    return {"name": name, "type": "query", "datasource": SOURCE, "query": f"label_values(parlor_ready, {label})",
            "includeAll": True, "multi": True, "allValue": ".*", "refresh": 2, "sort": 1,
            "current": {"text": "All", "value": "$__all"}}


def board(name):
    title, specs = BOARDS[name]
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"parlor-{name}", "title": title, "tags": ["parlor"], "timezone": "browser", "schemaVersion": 39,
        "editable": False, "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["parlor"], "title": "Parlor", "asDropdown": True, "keepTime": True}],
        "templating": {"list": [source, choice("job", "job"), choice("instance", "instance")]},
        "panels": list(laid_out(specs)),
    }


if __name__ == "__main__":
    for name in BOARDS:
        file, wanted = FOLDER / f"{name}.json", json.dumps(board(name), indent=1) + "\n"
        if "--check" not in sys.argv:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(wanted)
        elif not file.exists() or file.read_text() != wanted:
            sys.exit(f"{file}: not what dashboards.py writes: run it")

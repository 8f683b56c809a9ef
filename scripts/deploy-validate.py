#!/usr/bin/env python3
"""Validates what deploy/ makes, offline.

    deploy-validate.py manifests FILE RULES   manifests of Kubernetes against its schemas, and against what this house asks of
                                              pods; the rules of a PrometheusRule go into the file RULES, for promtool
    deploy-validate.py compose FILE SCHEMA    a compose file against its JSON schema, and that each file that it mounts is there
"""
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.34"
# Of the Prometheus operator: no schema of theirs is here. What is asked of them is below.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


def fail(words):
    sys.exit(f"deploy-validate: {words}")


def check_pod(place, pod, settings):
    security = pod["securityContext"]
    if not (security["runAsNonRoot"] and security["seccompProfile"]["type"] == "RuntimeDefault"):
        fail(f"{place}: {security}")
    if pod["automountServiceAccountToken"] or pod["enableServiceLinks"]:
        fail(f"{place}: has a token of Kubernetes, or variables of Services")
    for container in pod["containers"]:
        own = container["securityContext"]
        if own["allowPrivilegeEscalation"] or own["capabilities"]["drop"] != ["ALL"]:
            fail(f"{place}: {own}")
        if container["name"] in ("parlor", "migrate") and not own["readOnlyRootFilesystem"]:
            fail(f"{place}: its root can be written")
        for variable in container.get("env", []):
            if any(word in variable.get("value", "") for word in ("postgres://", "password")) and "FILE" not in variable["name"]:
                fail(f"{place}: {variable['name']} holds a secret")
        if container["name"] == "parlor":
            drain = settings.get("drain_limit_seconds", 20)
            before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            if pod["terminationGracePeriodSeconds"] < before + drain + 10:
                fail(f"{place}: is killed before it has drained")


def settings_of(documents):
    for document in documents:
        if document["kind"] == "ConfigMap" and "parlor.toml" in document["data"]:
            import tomllib
            return tomllib.loads(document["data"]["parlor.toml"])
    fail("there is no parlor.toml")


def manifests(file, rules):
    documents = [document for document in yaml.safe_load_all(pathlib.Path(file).read_text()) if document]
    settings, names, groups = settings_of(documents), set(), []
    for document in documents:
        place = f"{document['kind']} {document['metadata']['name']}"
        if place in names:
            fail(f"{place} is there twice")
        names.add(place)
        if document["kind"] == "Secret":
            fail(f"{place}: secrets are referred to, not made")
        if document["kind"] == "PrometheusRule":
            groups += document["spec"]["groups"]
        if document["kind"] in FOREIGN:
            if not document["apiVersion"].startswith("monitoring.coreos.com/"):
                fail(f"{place}: {document['apiVersion']}")
            continue
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            fail(f"{place}: {'.'.join(map(str, error.path))}: {error.message}")
        if document["kind"] in ("StatefulSet", "Job"):
            check_pod(place, document["spec"]["template"]["spec"], settings)
    pathlib.Path(rules).write_text(json.dumps({"groups": groups}))
    print(len(documents))


def compose(file, schema):
    document = yaml.safe_load(pathlib.Path(file).read_text())
    schema = json.loads(pathlib.Path(schema).read_text())
    for error in jsonschema.Draft201909Validator(schema).iter_errors(document):
        fail(f"{file}: {'.'.join(map(str, error.path))}: {error.message}")
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and not (pathlib.Path(file).parent / source).exists():
                fail(f"{file}: {name} mounts {source}, which is not there")
            if source[0] not in "./" and source not in document["volumes"]:
                fail(f"{file}: {name} mounts {source}, which is declared nowhere")


if __name__ == "__main__":
    {"manifests": manifests, "compose": compose}[sys.argv[1]](*sys.argv[2:])

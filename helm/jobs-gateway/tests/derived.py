"""Compares what is rendered with the configuration that it follows from: derived.py RENDERED"""

import sys
from pathlib import Path

import yaml

folder = Path(sys.argv[1])


def manifest(name: str, kind: str, suffix: str = "") -> dict:
    manifests = yaml.safe_load_all((folder / f"{name}.yaml").read_text())
    return next(
        m for m in manifests if m and m["kind"] == kind and m["metadata"]["name"].endswith(suffix)
    )


def same(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        sys.exit(f"FAIL  {what}: {seen} instead of {wanted}")


def egress(name: str) -> list[list[int]]:
    rules = manifest(name, "NetworkPolicy")["spec"]["egress"]
    return [[port["port"] for port in rule["ports"]] for rule in rules]


DNS = [53, 53, 5353, 5353]
same("default egress", egress("values"), [DNS, [443]])
same("egress of a stand-in and issuers", egress("openshift"), [DNS, [443, 8080, 8443]])
same("egress of Redis and collectors", egress("everything"), [DNS, [443], [6380], [4317, 4318], [8443]])

ingress = manifest("openshift", "Ingress")["spec"]["rules"][0]["http"]["paths"]
same("the Ingress' paths", [path["path"] for path in ingress], ["/api"])
matches = manifest("openshift", "HTTPRoute")["spec"]["rules"][0]["matches"]
same("the HTTPRoute's paths", [match["path"]["value"] for match in matches], ["/api"])
ingress = manifest("values-production", "Ingress")["spec"]["rules"][0]["http"]["paths"]
same("default paths", [path["path"] for path in ingress], ["/graphql", "/ugc/graphql"])

ports = [rule["ports"][0]["port"] for rule in manifest("everything", "NetworkPolicy")["spec"]["ingress"]]
same("the ports that are open", ports, [4000, 4001, 9090])
ports = [rule["ports"][0]["port"] for rule in manifest("values", "NetworkPolicy")["spec"]["ingress"]]
same("the ports that are open by default", ports, [4000, 9090])
hooks = manifest("everything", "Ingress", "-webhooks")["spec"]["rules"][0]["http"]["paths"]
same("the path of events", [path["path"] for path in hooks], ["/webhooks/move/"])
same("where it leads to", hooks[0]["backend"]["service"]["port"]["name"], "webhooks")
manifest("everything", "HTTPRoute", "-webhooks")
names = [env["name"] for env in manifest("everything", "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["env"]]
same("the secrets of events", [name for name in names if "WEBHOOK" in name], ["MOVE_WEBHOOK_SECRET", "NEXT_WEBHOOK_SECRET"])

same("replicas by default", manifest("values", "StatefulSet")["spec"]["replicas"], 1)
for name, wanted in {"openshift": 1, "values-production": 3}.items():
    rules = manifest(name, "PrometheusRule")["spec"]["groups"][1]["rules"]
    gone = next(rule for rule in rules if rule.get("alert") == "JobsGatewayReplicaGone")
    same(f"replicas that {name} watches", gone["expr"], f"count(jobs_gateway_build_info) < {wanted}")

pod = manifest("openshift", "StatefulSet")["spec"]["template"]["spec"]
same("ids on OpenShift", "runAsUser" in pod["securityContext"], False)
container = pod["containers"][0]
same("ids of the container", "runAsUser" in container["securityContext"], False)
same("envFrom", container["envFrom"], [{"secretRef": {"name": "move-accounts"}}])
mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
same("a mount of one's own", "/etc/jobs-gateway/authorities" in mounts, True)
service = manifest("openshift", "Service", "jobs-gateway")
same("annotations of the Service", service["metadata"]["annotations"], {"networking.gke.io/load-balancer-type": "Internal"})

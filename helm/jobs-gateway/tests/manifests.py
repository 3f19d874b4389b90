"""Sorts rendered manifests: manifests.py RENDERED STEM writes

STEM.core.yaml     what Kubernetes' own schemas know
STEM.foreign.json  kinds of other projects
STEM.rules.yaml    alerts, as Prometheus reads them, if there are any
STEM/              the gateway's configuration and policies, as its pod sees them
"""

import json
import sys
from pathlib import Path

import yaml

FOREIGN = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")

rendered, stem = Path(sys.argv[1]), sys.argv[2]
manifests = [manifest for manifest in yaml.safe_load_all(rendered.read_text()) if manifest]
foreign = [m for m in manifests if m["apiVersion"].startswith(FOREIGN)]
core = [m for m in manifests if m not in foreign]
Path(f"{stem}.core.yaml").write_text(yaml.safe_dump_all(core))
Path(f"{stem}.foreign.json").write_text(json.dumps(foreign))
for manifest in foreign:
    if manifest["kind"] == "PrometheusRule":
        Path(f"{stem}.rules.yaml").write_text(yaml.safe_dump(manifest["spec"]))

(Path(stem) / "policies").mkdir(parents=True, exist_ok=True)
for manifest in core:
    if manifest["kind"] != "ConfigMap" or "-dashboard-" in manifest["metadata"]["name"]:
        continue
    for name, text in manifest["data"].items():
        folder = Path(stem) if name == "gateway.yaml" else Path(stem) / "policies"
        (folder / name).write_text(text.replace("/etc/jobs-gateway", "."))

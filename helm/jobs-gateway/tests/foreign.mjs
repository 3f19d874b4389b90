// Validates kinds of other projects against their own definitions: foreign.mjs MANIFESTS.json
import { readFileSync } from "node:fs";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import {
  PrometheusRule,
  ServiceMonitor,
} from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const known = { HTTPRoute, PrometheusRule, ServiceMonitor };
const manifests = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const manifest of manifests) {
  new known[manifest.kind](manifest).validate();
}
console.log(manifests.map(({ kind }) => kind).sort().join(" "));

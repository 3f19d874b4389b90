{{- define "jobs-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "jobs-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "jobs-gateway.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "jobs-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "jobs-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jobs-gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "jobs-gateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "jobs-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "jobs-gateway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "jobs-gateway.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{- define "jobs-gateway.kind" -}}
{{- ternary "StatefulSet" "Deployment" (and .Values.audit.enabled .Values.audit.persistent) -}}
{{- end }}

{{/* The pod of `helm test`. It must not look like a replica to Services and budgets. */}}
{{- define "jobs-gateway.testLabels" -}}
app.kubernetes.io/name: {{ include "jobs-gateway.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jobs-gateway.dnsPorts" -}}
- port: 53
  protocol: UDP
- port: 53
  protocol: TCP
{{- end }}

{{/* The ports of collectors that the configuration names. */}}
{{- define "jobs-gateway.collectorPorts" -}}
{{- $ports := list -}}
{{- $otlp := dig "telemetry" "otlp" "endpoint" "" .Values.config -}}
{{- range list $otlp (and .Values.audit.enabled .Values.audit.otlp) -}}
{{- with . -}}
{{- $url := urlParse . -}}
{{- $port := ternary "443" "80" (eq $url.scheme "https") -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default $port) -}}
{{- end -}}
{{- end -}}
{{- without (uniq $ports) "443" | join " " -}}
{{- end }}

{{- define "jobs-gateway.policies" -}}
{{- default (printf "%s-policies" (include "jobs-gateway.fullname" .)) .Values.existingPolicies -}}
{{- end }}

{{/* gateway.yaml: what the values say, under what the pod needs. */}}
{{- define "jobs-gateway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $server := dict "listen" "0.0.0.0:4000" -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict "cert" "/etc/jobs-gateway/tls/tls.crt" "key" "/etc/jobs-gateway/tls/tls.key" -}}
{{- if .Values.tls.clientCa -}}
{{- $tls = merge $tls (dict "client_ca" "/etc/jobs-gateway/tls/ca.crt") -}}
{{- end -}}
{{- $server = merge $server (dict "tls" $tls) -}}
{{- end -}}
{{- $own := dict "server" $server "admin" (dict "listen" "0.0.0.0:9090") "policies" "/etc/jobs-gateway/policies" "cursor_key" "${CURSOR_KEY}" -}}
{{- if .Values.sharedState.enabled -}}
{{- $own = merge $own (dict "shared_state" (dict "redis" "${REDIS_URL}")) -}}
{{- else -}}
{{- $own = merge $own (dict "idempotency" (dict "file" "/var/lib/jobs-gateway/state/idempotency.redb")) -}}
{{- end -}}
{{- if .Values.audit.enabled -}}
{{- $file := dict "file" "/var/lib/jobs-gateway/audit/audit.jsonl" "rotate" .Values.audit.rotate "rotate_after" .Values.audit.rotateAfter "keep" .Values.audit.keep -}}
{{- $sinks := list $file -}}
{{- if .Values.audit.stdout -}}
{{- $sinks = append $sinks (dict "stdout" true) -}}
{{- end -}}
{{- with .Values.audit.otlp -}}
{{- $sinks = append $sinks (dict "otlp" .) -}}
{{- end -}}
{{- $own = merge $own (dict "audit" (dict "on_full" .Values.audit.onFull "sinks" $sinks)) -}}
{{- end -}}
{{- mergeOverwrite $config $own | toYaml -}}
{{- end }}

{{- define "jobs-gateway.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

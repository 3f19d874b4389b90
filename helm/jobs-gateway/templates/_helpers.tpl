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

{{/* 5353 is where the pods of OpenShift's DNS listen: rules see the port after the Service. */}}
{{- define "jobs-gateway.dnsPorts" -}}
{{- range list 53 5353 }}
- port: {{ . }}
  protocol: UDP
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}

{{/* The port of a URL; of anything else, such as a reference, that of HTTPS. */}}
{{- define "jobs-gateway.port" -}}
{{- $default := ternary "80" "443" (hasPrefix "http:" .) -}}
{{- regexFind ":[0-9]+$" (urlParse (ternary . "" (regexMatch "^https?://" .))).host | trimPrefix ":" | default $default -}}
{{- end }}

{{/* The ports of Move's API, for all tenants and for one, and of issuers' keys. */}}
{{- define "jobs-gateway.apiPorts" -}}
{{- $urls := list (dig "upstream" "url" "" .Values.config) -}}
{{- range dig "issuers" list .Values.config -}}
{{- if hasPrefix "http" (.jwks | default "") }}{{- $urls = append $urls .jwks -}}{{- end -}}
{{- end -}}
{{- range empty .Values.existingPolicies | ternary .Values.policies dict -}}
{{- with dig "upstream" "url" "" (fromYaml .) }}{{- $urls = append $urls . -}}{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range $urls }}{{- $ports = append $ports (include "jobs-gateway.port" .) -}}{{- end -}}
{{- uniq $ports | sortAlpha | join " " -}}
{{- end }}

{{/* The ports of collectors that the configuration names. */}}
{{- define "jobs-gateway.collectorPorts" -}}
{{- $ports := list -}}
{{- $otlp := dig "telemetry" "otlp" "endpoint" "" .Values.config -}}
{{- range list $otlp (and .Values.audit.enabled .Values.audit.otlp) -}}
{{- with . }}{{- $ports = append $ports (include "jobs-gateway.port" .) -}}{{- end -}}
{{- end -}}
{{- uniq $ports | join " " -}}
{{- end }}

{{/* The keys of the Secret that hold secrets of Move's events, each once. */}}
{{- define "jobs-gateway.webhookSecrets" -}}
{{- $keys := list -}}
{{- range .Values.webhooks.accounts }}{{- $keys = concat $keys . -}}{{- end -}}
{{- uniq $keys | sortAlpha | join " " -}}
{{- end }}

{{/* The GraphQL endpoints, as JSON. */}}
{{- define "jobs-gateway.paths" -}}
{{- dig "server" "paths" (list "/graphql" "/ugc/graphql") .Values.config | toJson -}}
{{- end }}

{{/* The replicas that there are at least, and at most. */}}
{{- define "jobs-gateway.minReplicas" -}}
{{- .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicaCount | int -}}
{{- end }}
{{- define "jobs-gateway.maxReplicas" -}}
{{- .Values.autoscaling.enabled | ternary .Values.autoscaling.maxReplicas .Values.replicaCount | int -}}
{{- end }}

{{/* Seconds of a duration of gateway.yaml, rounded up. */}}
{{- define "jobs-gateway.seconds" -}}
{{- $number := regexFind "^[0-9]+" (toString .) | default "0" | int64 -}}
{{- $unit := regexFind "[a-z]+$" (toString .) -}}
{{- if eq $unit "ms" -}}
{{- div (add $number 999) 1000 -}}
{{- else -}}
{{- mul $number (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit | default 1) -}}
{{- end -}}
{{- end }}

{{/* Refuses values that contradict each other. */}}
{{- define "jobs-gateway.check" -}}
{{- $grace := dig "server" "shutdown_grace" "20s" .Values.config -}}
{{- $drain := dig "server" "drain_delay" "3s" .Values.config -}}
{{- $needed := add 15 (include "jobs-gateway.seconds" $grace) -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is too short: config.server.shutdown_grace (%s) and the last writes take %d" (int64 .Values.terminationGracePeriodSeconds) $grace $needed) -}}
{{- end -}}
{{- if gt (include "jobs-gateway.seconds" $drain | int64) (include "jobs-gateway.seconds" $grace | int64) -}}
{{- fail (printf "config.server.drain_delay (%s) is a part of config.server.shutdown_grace (%s), and longer" $drain $grace) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.targetCPUUtilizationPercentage) (not .Values.autoscaling.metrics) -}}
{{- fail "autoscaling needs targetCPUUtilizationPercentage or metrics" -}}
{{- end -}}
{{- if and (gt (include "jobs-gateway.maxReplicas" . | int) 1) (not .Values.sharedState.enabled) (not .Values.sharedState.acceptUnshared) -}}
{{- fail "several replicas need sharedState.enabled: without it an Idempotency-Key holds only on the replica that saw it, and a mutation that is sent again may create a second job. sharedState.acceptUnshared: true accepts that" -}}
{{- end -}}
{{- if and .Values.service.loadBalancerSourceRanges (ne .Values.service.type "LoadBalancer") -}}
{{- fail "service.loadBalancerSourceRanges is heeded with service.type LoadBalancer alone" -}}
{{- end -}}
{{- if and .Values.existingPolicies (omit .Values.policies "defaults.yaml") -}}
{{- fail "policies are either in existingPolicies or in policies, not in both" -}}
{{- end -}}
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
{{- $own := dict "server" $server "reload" (dict "last_good" "/var/lib/jobs-gateway/state/policies") "index" (dict "file" "/var/lib/jobs-gateway/state/index.redb") "admin" (dict "listen" "0.0.0.0:9090") "policies" "/etc/jobs-gateway/policies" "cursor_key" "${CURSOR_KEY}" -}}
{{- if .Values.sharedState.enabled -}}
{{- $own = merge $own (dict "shared_state" (dict "redis" "${REDIS_URL}")) -}}
{{- else -}}
{{- $own = merge $own (dict "idempotency" (dict "file" "/var/lib/jobs-gateway/state/idempotency.redb")) -}}
{{- end -}}
{{- if .Values.webhooks.enabled -}}
{{- $accounts := dict -}}
{{- range $account, $keys := .Values.webhooks.accounts -}}
{{- $secrets := list -}}
{{- range $keys }}{{- $secrets = append $secrets (printf "${%s}" .) -}}{{- end -}}
{{- $accounts = merge $accounts (dict $account (dict "secrets" $secrets)) -}}
{{- end -}}
{{- $own = merge $own (dict "webhooks" (dict "listen" "0.0.0.0:4001" "accounts" $accounts)) -}}
{{- end -}}
{{- if .Values.audit.enabled -}}
{{- $file := dict "file" "/var/lib/jobs-gateway/audit/audit.jsonl" "rotate" .Values.audit.rotate "rotate_after" .Values.audit.rotateAfter "keep" .Values.audit.keep "keep_for" .Values.audit.keepFor -}}
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

{{/* Names, labels, and what several templates compute. */}}
{{- define "parlor.fullname" -}}
{{- if contains "parlor" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-parlor" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "parlor.labels" -}}
{{ include "parlor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "parlor.selector" -}}
app.kubernetes.io/name: parlor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "parlor.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- define "parlor.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "parlor.fullname" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "parlor.trial" -}}
{{- if and .Values.trial.enabled (eq .Values.mode "cluster") }}yes{{ end }}
{{- end }}

{{/* A workload's fullname: the workload called `node` has none of its own. Takes a list: the root, the name. */}}
{{- define "parlor.workload" -}}
{{- $name := index . 1 }}{{ include "parlor.fullname" (index . 0) }}{{ if ne $name "node" }}-{{ $name }}{{ end }}
{{- end }}

{{/* Settings as TOML: each on a line of its own, with dots between section and key. Numbers come out of YAML as floats.
     Takes a list: what stands before the key, the settings. */}}
{{- define "parlor.toml" -}}
{{- $before := index . 0 }}
{{- range $key, $value := index . 1 }}
{{- if kindIs "map" $value }}
{{- include "parlor.toml" (list (printf "%s%s." $before $key) $value) }}
{{- else if kindIs "float64" $value }}
{{ $before }}{{ $key }} = {{ int64 $value }}
{{- else }}
{{ $before }}{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* parlor.toml, whole. */}}
{{- define "parlor.settings" -}}
{{- $own := dict "log_format" "json" "trusted_proxies" .Values.trustedProxies }}
{{- if eq .Values.mode "cluster" }}
{{- $_ := set $own "slot" "hostname" }}
{{- $_ := set $own "kafka_brokers" (.Values.kafka.brokers | default (printf "%s-kafka:9092" (include "parlor.fullname" .))) }}
{{- if not .Values.secret.redisUrl }}
{{- $_ := set $own "redis_url" (.Values.redis.url | default (printf "redis://%s-redis:6379/0" (include "parlor.fullname" .))) }}
{{- end }}
{{- $_ := set $own "object_store_url" (.Values.objectStore.url | default "file:///var/lib/parlor-objects") }}
{{- $_ := set $own "database" (dict "migrate_at_start" (not .Values.migrations.job)) }}
{{- if and (include "parlor.trial" .) (not .Values.kafka.brokers) }}
{{- $_ := set $own "kafka" (dict "replication" 1 "min_in_sync" 1) }}
{{- end }}
{{- end }}
{{- /* What the user says wins, key by key. */}}
{{- include "parlor.toml" (list "" (mergeOverwrite $own (deepCopy .Values.config))) | trim }}
{{- end }}

{{/* Seconds that a pod may take to end: the drain, what comes behind it, and the time before it. */}}
{{- define "parlor.grace" -}}
{{- add (.Values.config.drain_limit_seconds | default 20 | int) .Values.preStopSeconds 15 }}
{{- end }}

{{- define "parlor.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
# The workers of scripts confine themselves by Landlock and seccomp, which need no capability but the system calls
# landlock_create_ruleset, landlock_add_rule, landlock_restrict_self and seccomp: the runtime's default profile has them.
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "parlor.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Secrets as files, and variables that name them. */}}
{{- define "parlor.secretEnv" -}}
- { name: PARLOR_JWT_KEYS_FILE, value: /run/secrets/parlor/jwt-keys }
{{- if eq .Values.mode "cluster" }}
- { name: PARLOR_DATABASE_URL_FILE, value: /run/secrets/parlor/database-url }
{{- if .Values.secret.redisUrl }}
- { name: PARLOR_REDIS_URL_FILE, value: /run/secrets/parlor/redis-url }
{{- end }}
{{- if .Values.secret.kafkaPassword }}
- { name: PARLOR_KAFKA__PASSWORD_FILE, value: /run/secrets/parlor/kafka-password }
{{- end }}
{{- end }}
{{- end }}

{{- define "parlor.secretVolume" -}}
name: secrets
secret:
  secretName: {{ .Values.secret.name }}
  # Of the group of the pod; nobody else's.
  defaultMode: 0440
  items:
    - { key: {{ .Values.secret.jwtKeys }}, path: jwt-keys }
    {{- if eq .Values.mode "cluster" }}
    - { key: {{ .Values.secret.databaseUrl }}, path: database-url }
    {{- with .Values.secret.redisUrl }}
    - { key: {{ . }}, path: redis-url }
    {{- end }}
    {{- with .Values.secret.kafkaPassword }}
    - { key: {{ . }}, path: kafka-password }
    {{- end }}
    {{- end }}
{{- end }}

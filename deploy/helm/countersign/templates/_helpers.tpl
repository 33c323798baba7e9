{{- define "countersign.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* What selects the pods of a component: it cannot be changed once they run. */}}
{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
app.kubernetes.io/version: {{ regexReplaceAll "[^A-Za-z0-9._-].*" .root.Values.image.tag "" | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "countersign.image" -}}
{{ required "image.repository: name the image that you built with deploy/Dockerfile" .Values.image.repository }}:{{ required "image.tag: name the build, such as v1.3.0" .Values.image.tag }}
{{- end }}

{{- /* A variable from the Secret: dict "root" $ "key" NAME */}}
{{- define "countersign.secret" -}}
- name: {{ .key }}
  valueFrom:
    secretKeyRef:
      name: {{ required "existingSecret: name the Secret with the tokens and keys" .root.Values.existingSecret }}
      key: {{ .key }}
{{- end }}

{{- /* What bots and workers both read. */}}
{{- define "countersign.env" -}}
{{ include "countersign.secret" (dict "root" . "key" "SLACK_BOT_TOKEN") }}
{{ include "countersign.secret" (dict "root" . "key" "REFERENCE_KEYS") }}
{{- if .Values.payloadKeys }}
{{ include "countersign.secret" (dict "root" . "key" "PAYLOAD_KEYS") }}
{{- end }}
- name: TEMPORAL_ADDRESS
  value: {{ required "temporal.address: name Temporal's frontend, host:port" .Values.temporal.address | quote }}
- name: TEMPORAL_NAMESPACE
  value: {{ .Values.temporal.namespace | quote }}
{{- if .Values.temporal.apiKey }}
{{ include "countersign.secret" (dict "root" . "key" "TEMPORAL_API_KEY") }}
{{- end }}
{{- with .Values.temporal.tls }}
{{- if or .enabled .clientSecret .serverCASecret }}
- name: TEMPORAL_TLS
  value: "true"
{{- end }}
{{- if .serverName }}
- name: TEMPORAL_TLS_SERVER_NAME
  value: {{ .serverName | quote }}
{{- end }}
{{- if .clientSecret }}
- name: TEMPORAL_TLS_CLIENT_CERT_PATH
  value: /etc/countersign/client/tls.crt
- name: TEMPORAL_TLS_CLIENT_KEY_PATH
  value: /etc/countersign/client/tls.key
{{- end }}
{{- if .serverCASecret }}
- name: TEMPORAL_TLS_SERVER_CA_CERT_PATH
  value: /etc/countersign/server-ca/ca.crt
{{- end }}
{{- end }}
{{- range $name, $value := .Values.config }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
- name: ADMIN_ADDRESS
  value: ":{{ .Values.adminPort }}"
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The pod but for its container's name, arguments and variables: dict "root" $ "component" bot|worker */}}
{{- define "countersign.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- $values := get .root.Values .component }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
# Apart from one another where there is room, so that a node or a zone takes one of them with it.
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "countersign.selector" $ | nindent 8 }}
  {{- end }}
{{- with .root.Values.temporal.tls }}
{{- if or .clientSecret .serverCASecret }}
volumes:
  {{- with .clientSecret }}
  - name: client
    secret:
      secretName: {{ . }}
      defaultMode: 0440
  {{- end }}
  {{- with .serverCASecret }}
  - name: server-ca
    secret:
      secretName: {{ . }}
      defaultMode: 0440
      items:
        - {key: ca.crt, path: ca.crt}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The container but for its name, arguments, variables and ports. */}}
{{- define "countersign.container" -}}
image: {{ include "countersign.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 3
resources:
  {{- toYaml (get .root.Values .component).resources | nindent 2 }}
{{- with .root.Values.temporal.tls }}
{{- if or .clientSecret .serverCASecret }}
volumeMounts:
  {{- if .clientSecret }}
  - {name: client, mountPath: /etc/countersign/client, readOnly: true}
  {{- end }}
  {{- if .serverCASecret }}
  - {name: server-ca, mountPath: /etc/countersign/server-ca, readOnly: true}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

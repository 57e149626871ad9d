#!/bin/sh
# Starts Prometheus with the first key of each service, where they ask for keys: a file of keys may hold several, and
# Prometheus would send its whole content. Read at the start only.
set -eu
umask 077

first_key() {
  sed -n 's/^[[:space:]]*\([^#[:space:]][^[:space:]]*\).*/\1/p' "$1" | head -n 1
}

printf %s "${API_KEY:-}" >"$FOLDER/api"
if [ -n "${API_KEY_FILE:-}" ]; then first_key "$API_KEY_FILE" >"$FOLDER/api"; fi
: >"$FOLDER/rag"
if [ -n "${RAG_API_KEY_FILE:-}" ]; then first_key "$RAG_API_KEY_FILE" >"$FOLDER/rag"; fi
unset API_KEY

# Airflow's times arrive as native histograms.
exec prometheus \
  --config.file=/etc/prometheus/prometheus.yml \
  --storage.tsdb.path=/prometheus \
  --storage.tsdb.retention.time=30d \
  --storage.tsdb.retention.size=2GB \
  --enable-feature=otlp-write-receiver,native-histograms \
  --web.external-url="$PAGE" \
  --web.route-prefix=/

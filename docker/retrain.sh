#!/bin/sh
# Retrain every RETRAIN_EVERY seconds, until told to stop. Nothing new to learn is no fault, and neither is one failed round:
# its report says why, and the next round tries again.
set -u
every=${RETRAIN_EVERY:-3600}
# The container ends when a retraining has given its lock back, not before.
trap 'kill "${child:-}" 2>/dev/null; wait "${child:-}"; exit 0' TERM INT
while :; do
    crypto-rti retrain --source "${CRYPTO_RTI_SOURCE:-coinbase}" --every-hours "${RETRAIN_NEW_HOURS:-24}" --quiet &
    child=$!
    wait "$child" || echo "retraining ended with code $?; next round in $every s" >&2
    sleep "$every" &
    child=$!
    wait "$child"
done

#!/bin/bash
# Run once by the database's container, when its volume is empty: one role and one database for the ledger, one for MLflow.
set -eu
for name in ledger mlflow; do
    variable="${name^^}_PASSWORD"
    psql --set ON_ERROR_STOP=1 --username postgres --set name="$name" --set password="${!variable}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done

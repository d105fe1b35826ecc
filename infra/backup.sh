#!/bin/sh
# backup.sh FOLDER: every database and the workspace, into a new folder under FOLDER; the name appears when all is there.
# PGHOST, PGUSER and PGPASSWORD say where PostgreSQL is. The ledger goes first: what it names is then in what follows.
set -eu
umask 077
folder=${1:?folder for backups}
new=$folder/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir -p "$new.part"
for database in ${DATABASES:-abi_ledger mlflow mlflow_auth prefect}; do
    pg_dump --format=custom --file="$new.part/$database.dump" "$database"
done
workspace=${ABI_WORKSPACE:-/var/lib/abi/workspace}
# caches of stages are made again; keys are backed up apart from what they sign
tar --create --gzip --file="$new.part/workspace.tar.gz" --exclude=./keys --exclude=./prefect --exclude=./checkpoints \
    --directory="$workspace" .
(cd "$new.part" && sha256sum -- * > SHA256SUMS)
mv "$new.part" "$new"
echo "backup    $new"

#!/bin/sh
# Makes the files of secrets that are not there yet, each for the user that reads it: sh deployments/compose/secrets.sh [FOLDER]
# Nothing is printed, nothing that is there is changed. Root is needed to give a file to another user.
set -eu
umask 077
folder="${1:-$(dirname "$0")}/secrets"
mkdir -p "$folder"
chmod 0711 "$folder"

keep() { # name owner: what comes in, unless the file is there
  [ -e "$folder/$1" ] || { cat > "$folder/$1.part" && mv "$folder/$1.part" "$folder/$1"; }
  chown "$2" "$folder/$1"
  chmod 0400 "$folder/$1"
}

word() { # 32 random bytes in url-safe base64, with its padding
  head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'
}

printf 'subnet:%s\n' "$(word | tr -d '=')" | keep prefect-auth 10001:10001
printf '%s\n' "$(word)" | keep secrets-key 10001:10001
printf '%s\n' "$(word | tr -d '=')" | keep postgres-password 999:999
printf 'postgres:5432:*:subnet:%s\n' "$(cat "$folder/postgres-password")" | keep pgpass 10001:10001

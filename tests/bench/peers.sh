#!/usr/bin/env bash
# Installs what the device bus is compared with into var/peers: Node-RED, by npm (Node.js 18 or newer), and eKuiper, built
# from its Go module (Go 1.25 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for program in npm go; do
  command -v "$program" >/dev/null || { echo "peers.sh: $program is not there; install Node.js with npm, and Go." >&2; exit 3; }
done

mkdir -p var/peers/node-red var/peers/ekuiper
npm install --prefix var/peers/node-red --no-audit --no-fund --silent node-red@4.1.15

peers=$PWD/var/peers
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cd "$source"
module=$(go mod download -json github.com/lf-edge/ekuiper/v2@v2.4.2 | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
cp -r "$module/." .
chmod -R u+w .
GOWORK=off CGO_ENABLED=0 go build -tags core -o "$peers/ekuiper/kuiperd" ./cmd/kuiperd
cp -r etc "$peers/ekuiper/"

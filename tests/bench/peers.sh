#!/usr/bin/env bash
# Installs what the device bus is compared with into var/peers: Node-RED, by npm. Needs Node.js 18 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v npm >/dev/null || { echo "peers.sh: npm is not there; install Node.js with npm." >&2; exit 3; }
mkdir -p var/peers/node-red
npm install --prefix var/peers/node-red --no-audit --no-fund --silent node-red@4.1.15

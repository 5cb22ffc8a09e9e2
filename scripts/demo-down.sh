#!/usr/bin/env bash
# Removes what `npm run demo -- --keep` left running, also when its process was killed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -x node_modules/.bin/node ]; then node_modules/.bin/node scripts/demo-down.ts; fi

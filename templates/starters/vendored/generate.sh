#!/bin/sh
# Generates src/protos from proto, without protoc. With `check` as its argument it writes
# nothing, and fails where what is there is not what would be generated.
set -e
cd "$(dirname "$0")"
protoc-gen-ttrpc "${1:-compile}" -I proto --out src/protos proto/greeter.proto

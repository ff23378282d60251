#!/bin/sh
# Generates src/protos from proto, with protoc.
set -e
cd "$(dirname "$0")"
mkdir -p src/protos
# protoc runs the plugin once, so that `mod_rs` sees all the files.
protoc -I proto --ttrpc_out=mod_rs:src/protos proto/greeter.proto

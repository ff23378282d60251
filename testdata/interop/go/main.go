// Command interop is a peer for the interoperability cases, on top of the Go
// implementation of ttrpc: a server, and a client that does what its input says.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

const service = "interop.v1.Interop"

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "version":
		fmt.Println(version())
	case len(os.Args) == 3 && os.Args[1] == "serve":
		serve(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "call":
		call(os.Args[2])
	default:
		fatal("expected `version`, `serve SOCKET` or `call SOCKET`")
	}
}

// version is that of the implementation that this program was linked with.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/containerd/ttrpc" {
			return module.Version
		}
	}
	return "unknown"
}

func fatal(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}

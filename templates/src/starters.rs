//! The files that a project begins with, for each way of generating.

/// One way of generating, and what it takes.
#[derive(Debug)]
pub struct Starter {
    /// Its name on the command line.
    pub name: &'static str,
    /// Paths and contents of its files.
    pub files: &'static [(&'static str, &'static str)],
    /// What to do next.
    pub next: &'static str,
}

const PROTO: (&str, &str) = (
    "proto/greeter.proto",
    include_str!("../starters/greeter.proto"),
);

const DEPENDENCIES: &str = "cargo add ttrpc-runtime --features protobuf\ncargo add protobuf@3.7.2";

/// All of them.
pub const STARTERS: &[Starter] = &[
    Starter {
        name: "protoc",
        files: &[
            PROTO,
            (
                "generate.sh",
                include_str!("../starters/protoc/generate.sh"),
            ),
        ],
        next: "sh generate.sh",
    },
    Starter {
        name: "buf",
        files: &[
            PROTO,
            ("buf.yaml", include_str!("../starters/buf/buf.yaml")),
            ("buf.gen.yaml", include_str!("../starters/buf/buf.gen.yaml")),
            (
                "bsr/buf.plugin.yaml",
                include_str!("../starters/buf/bsr/buf.plugin.yaml"),
            ),
            (
                "bsr/Dockerfile",
                include_str!("../starters/buf/bsr/Dockerfile"),
            ),
        ],
        next: "buf generate",
    },
    Starter {
        name: "build-rs",
        files: &[
            PROTO,
            ("build.rs", include_str!("../starters/build-rs/build.rs")),
            (
                "src/protos.rs",
                include_str!("../starters/build-rs/src/protos.rs"),
            ),
        ],
        next: "cargo add --build protoc-gen-ttrpc --no-default-features",
    },
    Starter {
        name: "vendored",
        files: &[
            PROTO,
            (
                "generate.sh",
                include_str!("../starters/vendored/generate.sh"),
            ),
            (
                ".github/workflows/generated.yml",
                include_str!("../starters/vendored/.github/workflows/generated.yml"),
            ),
        ],
        next: "sh generate.sh",
    },
];

impl Starter {
    /// The commands that follow, one a line.
    pub fn commands(&self) -> String {
        format!("{DEPENDENCIES}\n{}", self.next)
    }
}

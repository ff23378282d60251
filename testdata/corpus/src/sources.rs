//! .proto trees that come in packages; none of them is in this repository.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A tree to generate from.
pub struct Source {
    /// A name that is a module as well.
    pub name: &'static str,
    /// Where imports are looked for.
    pub includes: Vec<PathBuf>,
    /// Where the files to generate are.
    pub roots: Vec<PathBuf>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Fetches all trees to below `cache`.
pub fn fetch(cache: &Path) -> Result<Vec<Source>> {
    fs::create_dir_all(cache)?;
    let shims = from_crates(cache, "containerd-shim-protos", "0.11.0")?.join("vendor");
    let google = from_pypi(cache, "googleapis-common-protos", "1.70.0")?;
    let api = from_go(cache, "github.com/containerd/containerd/api", "v1.9.0")?;
    let cri = from_go(cache, "k8s.io/cri-api", "v0.33.0")?;
    let etcd = from_go(cache, "go.etcd.io/etcd/api/v3", "v3.6.0")?;
    let gogo = from_go(cache, "github.com/gogo/protobuf", "v1.3.2")?;
    let gateway = from_go(
        cache,
        "github.com/grpc-ecosystem/grpc-gateway/v2",
        "v2.26.3",
    )?;

    // Imports name some of them by paths that are theirs only in their repositories.
    let containerd = cache.join("containerd");
    link(
        &api,
        &containerd.join("github.com/containerd/containerd/api"),
    )?;
    let kubernetes = cache.join("kubernetes");
    link(&gogo, &kubernetes.join("github.com/gogo/protobuf"))?;
    let coreos = cache.join("coreos");
    link(&etcd, &coreos.join("etcd/api"))?;

    let shim_api = shims.join("github.com/containerd/containerd/api");
    Ok(vec![
        Source {
            name: "shims",
            roots: vec![shim_api.clone()],
            includes: vec![shim_api, shims],
        },
        Source {
            name: "googleapis",
            roots: vec![google.clone()],
            includes: vec![google.clone()],
        },
        Source {
            name: "containerd",
            roots: vec![containerd.clone()],
            includes: vec![containerd, google.clone()],
        },
        Source {
            name: "cri",
            roots: vec![cri.clone()],
            includes: vec![cri, kubernetes],
        },
        Source {
            name: "etcd",
            roots: vec![coreos.clone()],
            // It names files of one directory without it.
            includes: vec![
                coreos.join("etcd/api/etcdserverpb"),
                coreos,
                google,
                gogo,
                gateway,
            ],
        },
    ])
}

/// The .proto files below a directory, in order.
pub fn protos(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(protos(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn from_crates(cache: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let project = cache.join(format!("crate-{name}"));
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), "")?;
    fs::write(
        project.join("Cargo.toml"),
        format!(
            "[package]\nname = \"fetch\"\nedition = \"2024\"\n\n[dependencies]\n{name} = \"={version}\"\n\n[workspace]\n"
        ),
    )?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let command = command.args(["metadata", "--format-version=1"]);
    let metadata = json(command.current_dir(project))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == name)
        .find_map(|package| package["manifest_path"].as_str());
    let manifest = manifest.ok_or_else(|| format!("cargo does not say where {name} is"))?;
    Ok(PathBuf::from(manifest).with_file_name(""))
}

fn from_pypi(cache: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let tree = cache.join(format!("pypi-{name}-{version}"));
    if tree.exists() {
        return Ok(tree);
    }
    let wheels = cache.join("wheels");
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    let mut python = Command::new("python3");
    let python = python.args(pip).arg(&wheels);
    run(python.arg(format!("{name}=={version}")))?;
    let wheel = fs::read_dir(&wheels)?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = format!("{}-{version}-", name.replace('-', "_"));
    let is_wheel = |path: &PathBuf| path.to_string_lossy().contains(&file);
    let wheel = wheel
        .into_iter()
        .find(is_wheel)
        .ok_or("pip has left no wheel")?;
    // In two steps, so that a tree is whole where it is there at all.
    let unpacked = cache.join("unpacked");
    let mut python = Command::new("python3");
    let python = python.args(["-m", "zipfile", "-e"]).arg(wheel);
    run(python.arg(&unpacked))?;
    fs::rename(&unpacked, &tree)?;
    Ok(tree)
}

fn from_go(cache: &Path, module: &str, version: &str) -> Result<PathBuf> {
    let mut command = Command::new("go");
    let command = command.args(["mod", "download", "-json"]);
    let downloaded = json(
        command
            .arg(format!("{module}@{version}"))
            .current_dir(cache),
    )?;
    let directory = downloaded["Dir"].as_str();
    Ok(PathBuf::from(directory.ok_or_else(|| {
        format!("go does not say where {module} is")
    })?))
}

fn link(to: &Path, from: &Path) -> Result<()> {
    if let Some(parent) = from.parent() {
        fs::create_dir_all(parent)?;
    }
    let _ = fs::remove_file(from);
    Ok(std::os::unix::fs::symlink(to, from)?)
}

fn json(command: &mut Command) -> Result<Value> {
    Ok(serde_json::from_slice(&run(command)?)?)
}

/// Runs a command, which must succeed, and returns what it prints.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{command:?}: {}\n{told}", output.status).into())
    }
}

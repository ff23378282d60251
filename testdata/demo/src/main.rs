//! The demo: a server and a client of the route guide, two processes, one Unix socket.
//!
//! `ttrpc-demo` starts the server as a child process and calls it; `ttrpc-demo serve
//! ADDRESS` and `ttrpc-demo call ADDRESS` are the two halves, to be tried by hand. With
//! `--blocking` in front all of it is of the blocking flavour; `--async` is the default.

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::process::{Command, Stdio};
use std::time::Duration;

use ttrpc_demo::Guide;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A flavour: its name as an argument, and its two halves.
struct Flavour {
    argument: &'static str,
    serve: fn(&str) -> Outcome,
    call: fn(&str) -> Outcome,
}

const ASYNCHRONOUS: Flavour = Flavour {
    argument: "--async",
    serve: asynchronous::serve,
    call: asynchronous::call,
};

const BLOCKING: Flavour = Flavour {
    argument: "--blocking",
    serve: blocking::serve,
    call: blocking::call,
};

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (flavour, args) = match args.split_first() {
        Some((first, rest)) if *first == BLOCKING.argument => (BLOCKING, rest),
        Some((first, rest)) if *first == ASYNCHRONOUS.argument => (ASYNCHRONOUS, rest),
        _ => (ASYNCHRONOUS, &args[..]),
    };
    match args {
        [] => demo(&flavour),
        ["serve", address] => (flavour.serve)(address),
        ["call", address] => (flavour.call)(address),
        _ => Err(
            "expected [--async|--blocking] and then nothing, `serve ADDRESS` or `call ADDRESS`"
                .into(),
        ),
    }
}

mod asynchronous {
    use ttrpc_demo::{RouteGuideClient, RouteGuideServer, tour};
    use ttrpc_runtime::{Client, Listener, Server};

    use super::{Duration, Guide, Outcome, say_ready, wait_for_end};

    /// Serves until standard input ends.
    #[tokio::main(flavor = "current_thread")]
    pub async fn serve(address: &str) -> Outcome {
        let server = Server::builder()
            .service(RouteGuideServer::new(Guide::default()))
            .build()?;
        let listener = Listener::bind(address)?;
        say_ready(address)?;

        let stopping = server.clone();
        let stop = tokio::spawn(async move {
            let _ = tokio::task::spawn_blocking(wait_for_end).await;
            stopping.shutdown(Duration::from_secs(5)).await;
        });
        server.serve(listener).await?;
        stop.await?;
        Ok(())
    }

    #[tokio::main(flavor = "current_thread")]
    pub async fn call(address: &str) -> Outcome {
        let guide = RouteGuideClient::new(Client::connect(address).await?);
        Ok(tour(&guide, |line| println!("{line}")).await?)
    }
}

mod blocking {
    use ttrpc_demo::blocking::{RouteGuideClient, RouteGuideServer, tour};
    use ttrpc_runtime::Listener;
    use ttrpc_runtime::blocking::{Client, Server};

    use super::{Duration, Guide, Outcome, say_ready, wait_for_end};

    /// Serves until standard input ends.
    pub fn serve(address: &str) -> Outcome {
        let server = Server::builder()
            .service(RouteGuideServer::new(Guide::default()))
            .build()?;
        let listener = Listener::bind(address)?;
        say_ready(address)?;

        let stopping = server.clone();
        let stop = std::thread::spawn(move || {
            wait_for_end();
            stopping.shutdown(Duration::from_secs(5));
        });
        server.serve(listener)?;
        stop.join().map_err(|_| "stopping failed".into())
    }

    pub fn call(address: &str) -> Outcome {
        let guide = RouteGuideClient::new(Client::connect(address)?);
        Ok(tour(&guide, |line| println!("{line}"))?)
    }
}

fn say_ready(address: &str) -> Outcome {
    println!("listening at {address}");
    Ok(stdout().flush()?)
}

fn wait_for_end() {
    let _ = stdin().read_to_end(&mut Vec::new());
}

fn demo(flavour: &Flavour) -> Outcome {
    let socket = std::env::temp_dir().join(format!("ttrpc-demo-{}.sock", std::process::id()));
    let address = format!("unix://{}", socket.display());
    let mut server = Command::new(std::env::current_exe()?)
        .arg(flavour.argument)
        .args(["serve", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(out) = server.stdout.take() {
        BufReader::new(out).read_line(&mut said)?;
    }
    println!("server, process {}: {}", server.id(), said.trim_end());
    println!("client, process {}: calling\n", std::process::id());
    let called = (flavour.call)(&address);

    // The end of its input is what the server stops at.
    drop(server.stdin.take());
    let status = server.wait()?;
    called?;
    println!("\nserver: stopped, {status}");
    if status.success() {
        Ok(())
    } else {
        Err("the server failed".into())
    }
}

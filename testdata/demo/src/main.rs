//! The demo: a server and a client of the route guide, two processes, one Unix socket.
//!
//! `ttrpc-demo` starts the server as a child process and calls it; `ttrpc-demo serve
//! ADDRESS` and `ttrpc-demo call ADDRESS` are the two halves, to be tried by hand.

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::process::{Command, Stdio};
use std::time::Duration;

use ttrpc_demo::{Guide, RouteGuideClient, RouteGuideServer, tour};
use ttrpc_runtime::{Client, Listener, Server};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demo().await,
        ["serve", address] => serve(address).await,
        ["call", address] => call(address).await,
        _ => Err("expected no arguments, `serve ADDRESS` or `call ADDRESS`".into()),
    }
}

/// Serves until standard input ends.
async fn serve(address: &str) -> Outcome {
    let server = Server::builder()
        .service(RouteGuideServer::new(Guide::default()))
        .build()?;
    let listener = Listener::bind(address)?;
    println!("listening at {address}");
    stdout().flush()?;

    let stopping = server.clone();
    let stop = tokio::spawn(async move {
        let input = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new()));
        let _ = input.await;
        stopping.shutdown(Duration::from_secs(5)).await;
    });
    server.serve(listener).await?;
    stop.await?;
    Ok(())
}

async fn call(address: &str) -> Outcome {
    let guide = RouteGuideClient::new(Client::connect(address).await?);
    tour(&guide, |line| println!("{line}")).await?;
    Ok(())
}

async fn demo() -> Outcome {
    let socket = std::env::temp_dir().join(format!("ttrpc-demo-{}.sock", std::process::id()));
    let address = format!("unix://{}", socket.display());
    let mut server = Command::new(std::env::current_exe()?)
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
    let called = call(&address).await;

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

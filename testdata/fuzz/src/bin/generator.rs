//! Whatever is sent to the plugin is answered or refused, and never with a panic.

#![no_main]

use std::panic::{self, catch_unwind};
use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_types::compiler::CodeGeneratorResponse;
use protoc_gen_ttrpc::{Error, generate};
use ttrpc_fuzz::seeds;

/// What the last panic has said: those of the libraries that it uses the generator catches.
static PANIC: Mutex<String> = Mutex::new(String::new());

fuzz_target!(
    init: {
        seeds::write(seeds::requests);
        panic::set_hook(Box::new(|panic| *PANIC.lock().unwrap() = panic.to_string()));
    },
    |bytes: &[u8]| {
        if catch_unwind(|| run(bytes)).is_err() {
            eprintln!("{}", PANIC.lock().unwrap());
            std::process::abort();
        }
    }
);

fn run(bytes: &[u8]) {
    match generate(bytes.to_vec()) {
        Ok(response) => {
            let response = CodeGeneratorResponse::decode(&response[..]).expect("a response");
            assert!(response.error.is_none() || response.file.is_empty());
        }
        Err(Error::Malformed(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

//! How long the generator takes for a request of googleapis' size, and how much memory.
//!
//! Makes up the request, has the plugin answer it as protoc would, and prints one line a
//! measure. `make bench-generator` runs it; it takes the path of the plugin, and options
//! instead of `messages=none`.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use protobuf::Message;
use protobuf::descriptor::field_descriptor_proto::{Label, Type};
use protobuf::descriptor::source_code_info::Location;
use protobuf::descriptor::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use protobuf::plugin::{CodeGeneratorRequest, CodeGeneratorResponse};
use wait4::Wait4;

/// What googleapis has.
const FILES: usize = 7_227;
const SERVICES: usize = 1_739;
const RPCS: usize = 12_344;
/// What protoc sends for it, in bytes.
const SIZE: usize = 77_000_000;

/// How this program has itself make the request: what a process has in memory counts for
/// those that it starts as well.
const MAKE: &str = "--make-request";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let plugin = first.ok_or("expected the path of the plugin")?;
    let parameter = arguments.collect::<Vec<_>>().join(",");
    if plugin == MAKE {
        return make(parameter);
    }

    let parameter = if parameter.is_empty() {
        "messages=none,message_path=crate::protos".to_owned()
    } else {
        parameter
    };
    let directory = std::env::temp_dir().join(format!("googleapis-sized-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let measured = measure(&plugin, &parameter, &directory);
    fs::remove_dir_all(&directory)?;
    measured
}

fn measure(plugin: &str, parameter: &str, directory: &Path) -> Result<(), Box<dyn Error>> {
    let (request, response) = (directory.join("request"), directory.join("response"));
    let mut maker = Command::new(std::env::current_exe()?);
    let maker = maker.arg(MAKE).arg(parameter);
    if !maker.stdout(File::create(&request)?).status()?.success() {
        return Err("the request could not be made".into());
    }
    let size = usize::try_from(fs::metadata(&request)?.len())?;
    let megabytes = |bytes: usize| bytes / 1_000_000;
    println!("{parameter}");
    println!(
        "request   {FILES} files, {SERVICES} services, {RPCS} rpcs, {} MB",
        megabytes(size)
    );

    let start = Instant::now();
    let mut child = Command::new(plugin)
        .stdin(File::open(&request)?)
        .stdout(File::create(&response)?)
        .spawn()?;
    let finished = child.wait4()?;
    let seconds = start.elapsed().as_secs_f64();
    if !finished.status.success() {
        return Err(format!("the plugin failed: {}", finished.status).into());
    }
    let bytes = fs::read(&response)?;
    let response = CodeGeneratorResponse::parse_from_bytes(&bytes)?;
    if response.has_error() {
        return Err(response.error().into());
    }
    let peak = usize::try_from(finished.rusage.maxrss)?;
    println!(
        "response  {} files, {} MB",
        response.file.len(),
        megabytes(bytes.len())
    );
    println!("time      {seconds:.2} s");
    println!(
        "memory    {} MB, {:.2} × the request",
        megabytes(peak),
        peak as f64 / size as f64
    );
    Ok(())
}

fn make(parameter: String) -> Result<(), Box<dyn Error>> {
    let mut request = CodeGeneratorRequest::new();
    request.proto_file = (0..FILES).map(file).collect();
    let names = request.proto_file.iter().map(|file| file.name().to_owned());
    request.file_to_generate = names.collect();
    request.set_parameter(parameter);
    Ok(std::io::stdout().write_all(&request.write_to_bytes()?)?)
}

/// The file of this number; of the services and rpcs each has its share.
fn file(number: usize) -> FileDescriptorProto {
    let before = |number: usize| number * SERVICES / FILES;
    let services = before(number)..before(number + 1);
    let package = format!("google.cloud.area{}.v{number}", number % 50);
    let mut file = FileDescriptorProto::new();
    file.set_name(format!("{}/file_{number}.proto", package.replace('.', "/")));
    file.set_package(package.clone());
    file.set_syntax("proto3".to_owned());
    for (index, service_number) in services.enumerate() {
        let rpcs = (service_number + 1) * RPCS / SERVICES - service_number * RPCS / SERVICES;
        let mut service = ServiceDescriptorProto::new();
        service.set_name(format!("ResourceManagement{index}"));
        for rpc in 0..rpcs {
            let mut method = MethodDescriptorProto::new();
            method.set_name(format!("ListManagedResources{rpc}"));
            method.set_input_type(format!(
                ".{package}.ListManagedResources{}Request",
                rpc % 12
            ));
            method.set_output_type(format!(
                ".{package}.ListManagedResources{}Response",
                rpc % 12
            ));
            method.set_server_streaming(rpc % 9 == 8);
            let path = [6, index, 2, rpc];
            comment(
                &mut file,
                &path,
                " Lists what is managed.\n\n Pages are at most a thousand long.\n",
            );
            service.method.push(method);
        }
        comment(&mut file, &[6, index], " Manages resources of this kind.\n");
        file.service.push(service);
    }
    for index in 0..24 {
        let kind = if index % 2 == 0 {
            "Request"
        } else {
            "Response"
        };
        let mut message = DescriptorProto::new();
        message.set_name(format!("ListManagedResources{}{kind}", index / 2));
        comment(
            &mut file,
            &[4, index],
            " What a call takes or gives, said at some length.\n",
        );
        for field in 0..3 {
            let mut declared = FieldDescriptorProto::new();
            declared.set_name(format!("resource_field_{field}"));
            declared.set_json_name(format!("resourceField{field}"));
            declared.set_number(i32::try_from(field).unwrap_or_default() + 1);
            declared.set_type(Type::TYPE_STRING);
            declared.set_label(Label::LABEL_OPTIONAL);
            message.field.push(declared);
            comment(
                &mut file,
                &[4, index, 2, field],
                " One field of it, and what it is for, in a line.\n",
            );
        }
        file.message_type.push(message);
    }
    // The rest is more of the same.
    let size = usize::try_from(file.compute_size()).unwrap_or_default();
    let missing = (SIZE / FILES).saturating_sub(size);
    let source = file.source_code_info.mut_or_insert_default();
    source.location.push(Location {
        path: vec![12],
        leading_comments: Some(" licence ".repeat(missing / 9)),
        ..Location::default()
    });
    file
}

/// Adds a comment on what is at this path.
fn comment(file: &mut FileDescriptorProto, path: &[usize], text: &str) {
    let source = file.source_code_info.mut_or_insert_default();
    source.location.push(Location {
        path: path
            .iter()
            .filter_map(|part| i32::try_from(*part).ok())
            .collect(),
        span: vec![1, 2, 3, 4],
        leading_comments: Some(text.to_owned()),
        ..Location::default()
    });
}

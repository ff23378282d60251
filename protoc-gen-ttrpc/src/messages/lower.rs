//! Editions in words of proto2 and proto3, for generators that know only those.
//!
//! A file whose fields all have explicit presence is said in proto2, which can also say
//! required fields, defaults and groups; one with implicit presence is said in proto3.

use protobuf::descriptor::field_descriptor_proto::{Label, Type};
use protobuf::descriptor::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, OneofDescriptorProto,
};
use protobuf::{CodedInputStream, UnknownFields, UnknownValueRef};

use crate::Problem;
use crate::layout::full_name;

/// Where the options of a file, a message and a field have their features, and a file its
/// edition; all of them are younger than rust-protobuf.
const OF_FILE: u32 = 50;
const OF_MESSAGE: u32 = 12;
const OF_FIELD: u32 = 21;
const EDITION: u32 = 14;

/// The features that tell one field from another on the wire or in Rust.
#[derive(Clone, Copy)]
struct Features {
    presence: u64,
    repeated: u64,
    message: u64,
}

/// `field_presence` of `FeatureSet`.
const EXPLICIT: u64 = 1;
const IMPLICIT: u64 = 2;
const REQUIRED: u64 = 3;
/// `repeated_field_encoding`.
const PACKED: u64 = 1;
/// `message_encoding`.
const LENGTH_PREFIXED: u64 = 1;
const DELIMITED: u64 = 2;

/// What editions 2023 and 2024 begin with.
const DEFAULT: Features = Features {
    presence: EXPLICIT,
    repeated: PACKED,
    message: LENGTH_PREFIXED,
};

impl Features {
    /// These features with those that are set among the options.
    fn with(mut self, options: &mut UnknownFields, number: u32) -> Self {
        if let Some(UnknownValueRef::LengthDelimited(set)) = options.get(number) {
            let mut input = CodedInputStream::from_bytes(set);
            while let Ok(Some(tag)) = input.read_raw_tag_or_eof() {
                // All fields are enums; extensions are messages.
                if tag & 7 != 0 {
                    let Some(wire) = protobuf::rt::WireType::new(tag & 7) else {
                        break;
                    };
                    if input.skip_field(wire).is_err() {
                        break;
                    }
                    continue;
                }
                let Ok(value) = input.read_raw_varint64() else {
                    break;
                };
                match tag >> 3 {
                    1 => self.presence = value,
                    3 => self.repeated = value,
                    5 => self.message = value,
                    _ => {}
                }
            }
        }
        options.remove(number);
        self
    }
}

/// What a file needs.
#[derive(Default)]
struct Needs {
    /// A field that only proto3 can declare.
    proto3: Option<String>,
    /// What only proto2 can declare.
    proto2: Option<String>,
}

/// Says a file of an edition in proto2 or proto3.
pub(super) fn lower(file: &mut FileDescriptorProto) -> Result<(), Problem> {
    let options = file.options.mut_or_insert_default();
    let features = DEFAULT.with(options.special_fields.mut_unknown_fields(), OF_FILE);
    let mut needs = Needs::default();
    let scope = full_name(file.package(), &[]);
    for message in &mut file.message_type {
        inspect(message, &scope, features, &mut needs);
    }
    for field in &mut file.extension {
        encode(field, false, features, &mut needs);
        needs.proto2 = Some(format!("extension `{}`", field.name()));
    }
    if let (Some(implicit), Some(other)) = (&needs.proto3, &needs.proto2) {
        return Err(Problem::new(
            format!(
                "it has implicit presence in field `{implicit}`, and {other}; neither proto2 nor \
                 proto3 has both, and rust-protobuf and prost know no editions"
            ),
            "take `messages=buffa`, or `messages=none`",
        ));
    }
    let is_proto3 = needs.proto3.is_some();
    file.set_syntax(if is_proto3 { "proto3" } else { "proto2" }.to_owned());
    file.special_fields.mut_unknown_fields().remove(EDITION);
    let optional = if is_proto3 { oneof } else { explicit };
    for message in &mut file.message_type {
        each_message(message, optional);
    }
    file.extension
        .iter_mut()
        .for_each(FieldDescriptorProto::clear_proto3_optional);
    Ok(())
}

/// A field that is a group, as delimited ones are now.
pub(super) fn group(file: &FileDescriptorProto) -> Option<&str> {
    fn is_group(field: &&FieldDescriptorProto) -> bool {
        field.type_() == Type::TYPE_GROUP
    }
    fn group_of(message: &DescriptorProto) -> Option<&FieldDescriptorProto> {
        let mut fields = message.field.iter().chain(&message.extension);
        let nested = || message.nested_type.iter().find_map(group_of);
        fields.find(is_group).or_else(nested)
    }
    let extension = file.extension.iter().find(is_group);
    let group = extension.or_else(|| file.message_type.iter().find_map(group_of));
    group.map(FieldDescriptorProto::name)
}

/// Resolves the features of a message's fields, and sees what they need.
fn inspect(message: &mut DescriptorProto, scope: &str, features: Features, needs: &mut Needs) {
    let is_map_entry = message.options.map_entry();
    let options = message.options.mut_or_insert_default();
    let features = features.with(options.special_fields.mut_unknown_fields(), OF_MESSAGE);
    if is_map_entry {
        return;
    }
    if !message.extension_range.is_empty() {
        needs.proto2 = Some(format!("extensions of `{}`", message.name()));
    }
    let full = format!("{scope}.{}", message.name());
    let nested = message.nested_type.iter();
    let entries = nested.filter(|nested| nested.options.map_entry());
    let entries: Vec<String> = entries
        .map(|entry| format!("{full}.{}", entry.name()))
        .collect();
    for field in &mut message.field {
        let is_map = entries.iter().any(|entry| entry == field.type_name());
        encode(field, is_map, features, needs);
    }
    for field in &mut message.extension {
        encode(field, false, features, needs);
        needs.proto2 = Some(format!("extension `{}`", field.name()));
    }
    for nested in &mut message.nested_type {
        inspect(nested, &full, features, needs);
    }
}

fn encode(field: &mut FieldDescriptorProto, is_map: bool, features: Features, needs: &mut Needs) {
    let name = field.name().to_owned();
    let options = field.options.mut_or_insert_default();
    let features = features.with(options.special_fields.mut_unknown_fields(), OF_FIELD);
    let is_repeated = field.label() == Label::LABEL_REPEATED;
    let is_message = field.type_() == Type::TYPE_MESSAGE;
    if is_repeated && is_packable(field) {
        let options = field.options.mut_or_insert_default();
        options.set_packed(features.repeated == PACKED);
    }
    // A map is never delimited.
    if is_message && features.message == DELIMITED && !is_map {
        field.set_type(Type::TYPE_GROUP);
        needs.proto2 = Some(format!("a delimited field `{name}`"));
    }
    if field.has_default_value() {
        needs.proto2 = Some(format!("a default for field `{name}`"));
    }
    if features.presence == REQUIRED && !is_repeated && !field.has_oneof_index() {
        field.set_label(Label::LABEL_REQUIRED);
        needs.proto2 = Some(format!("a required field `{name}`"));
    }
    if features.presence == IMPLICIT && !is_repeated && !is_message && !field.has_oneof_index() {
        // For `optional`, which leaves those with explicit presence.
        field.clear_proto3_optional();
        needs.proto3 = Some(name);
    } else if !is_repeated && !is_message && !field.has_oneof_index() {
        field.set_proto3_optional(true);
    }
}

fn is_packable(field: &FieldDescriptorProto) -> bool {
    !matches!(
        field.type_(),
        Type::TYPE_STRING | Type::TYPE_BYTES | Type::TYPE_MESSAGE | Type::TYPE_GROUP
    )
}

fn each_message(message: &mut DescriptorProto, change: fn(&mut DescriptorProto)) {
    change(message);
    for nested in &mut message.nested_type {
        each_message(nested, change);
    }
}

/// In proto2 presence is explicit without a word.
fn explicit(message: &mut DescriptorProto) {
    let fields = message.field.iter_mut().chain(&mut message.extension);
    fields.for_each(FieldDescriptorProto::clear_proto3_optional);
}

/// In proto3 each field with explicit presence is in a oneof of its own, behind the others.
fn oneof(message: &mut DescriptorProto) {
    for field in message
        .field
        .iter_mut()
        .filter(|field| field.proto3_optional())
    {
        let index = i32::try_from(message.oneof_decl.len()).unwrap_or(i32::MAX);
        let mut oneof = OneofDescriptorProto::new();
        oneof.set_name(format!("_{}", field.name()));
        field.set_oneof_index(index);
        message.oneof_decl.push(oneof);
    }
}

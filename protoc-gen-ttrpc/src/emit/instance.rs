//! One instance of the template: the model service becomes a service of a file.
//!
//! Every trait item, impl item and match arm that mentions a model rpc is repeated
//! for each rpc of that kind, in the order of the .proto file. Everything else is
//! the replacement of names.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, Attribute, Expr, ImplItem, Pat, Path, Stmt, TraitItem, Type, parse_quote};

use super::{is_super, nest, path};
use crate::model::{Kind, Message, Rpc, Service};
use crate::names;

/// The model's rpcs: their names in Rust and on the wire.
const MODEL_RPCS: [(Kind, &str, &str); 4] = [
    (Kind::Unary, "unary", "Unary"),
    (Kind::ServerStream, "server_stream", "ServerStream"),
    (Kind::ClientStream, "client_stream", "ClientStream"),
    (Kind::Bidi, "bidi", "Bidi"),
];

/// The model's name on the wire.
const MODEL: &str = "model.Model";

/// One service, or one rpc of it, in place of the model's.
pub(super) struct Instance<'a> {
    pub(super) service: &'a Service,
    pub(super) rpc: Option<&'a Rpc>,
    /// Whether this goes into a module of its own.
    pub(super) nested: bool,
}

impl<'a> Instance<'a> {
    /// Repeats what mentions a model rpc, where the first of them is, and visits
    /// everything.
    fn repeat<T: Clone + ToTokens>(&mut self, items: &mut Vec<T>, visit: fn(&mut Self, &mut T)) {
        let (models, others): (Vec<_>, Vec<_>) = std::mem::take(items)
            .into_iter()
            .enumerate()
            .map(|(place, item)| (place, model_rpc(&item), item))
            .partition(|(_, kind, _)| kind.is_some());
        let first = models.first().map_or(0, |(place, _, _)| *place);
        let is_before = |(place, _, _): &(usize, _, T)| *place < first;
        let (before, after): (Vec<_>, Vec<_>) = others.into_iter().partition(is_before);

        let service = self.service;
        let mut add = |rpc, mut item| {
            self.rpc = rpc;
            visit(self, &mut item);
            items.push(item);
        };
        before.into_iter().for_each(|(_, _, item)| add(None, item));
        for rpc in &service.rpcs {
            let of_its_kind = models.iter().filter(|(_, kind, _)| *kind == Some(rpc.kind));
            of_its_kind.for_each(|(_, _, item)| add(Some(rpc), item.clone()));
        }
        after.into_iter().for_each(|(_, _, item)| add(None, item));
        self.rpc = None;
    }

    /// What an identifier of the template stands for.
    fn word(&self, word: &str) -> Option<String> {
        let service = &self.service.rust;
        match (word, self.rpc) {
            ("Model", _) => Some(names::escape(service)),
            ("ModelClient", _) => Some(format!("{service}Client")),
            ("ModelServer", _) => Some(format!("{service}Server")),
            ("ModelImpl", _) => Some(format!("{service}Impl")),
            ("UNARY", Some(rpc)) => Some(names::constant(&rpc.rust)),
            (_, Some(rpc)) if is_model_rpc(word) == Some(rpc.kind) => Some(rpc.rust.clone()),
            _ => None,
        }
    }

    /// The type of a message.
    fn message(&self, message: &Message) -> Option<Type> {
        let rust = message.rust.as_deref()?;
        // What is no path from one module to another is a type of Rust itself.
        if !rust.contains("::") || rust.contains('<') {
            return syn::parse_str(rust).ok();
        }
        let path = match self.nested {
            true => path(&nest(rust)),
            false => path(rust),
        };
        Some(Type::Path(syn::TypePath {
            attrs: Vec::new(),
            qself: None,
            path,
        }))
    }

    /// The attributes in place of those on a part of the model.
    fn attributes(&self, attributes: Vec<Attribute>) -> Vec<Attribute> {
        let mut instance = Vec::new();
        for attribute in attributes {
            match (doc(&attribute).as_deref(), self.rpc) {
                (Some("Model"), _) => {
                    let Service { docs, wire, .. } = self.service;
                    comment(&mut instance, docs, wire);
                    deprecated(&mut instance, self.service.deprecated);
                }
                (Some("Rpc"), Some(rpc)) => {
                    comment(&mut instance, &rpc.docs, &rpc.wire);
                    deprecated(&mut instance, rpc.deprecated);
                }
                (Some(text), _) => {
                    let text = text.replace(MODEL, &self.service.wire);
                    instance.push(parse_quote!(#[doc = #text]));
                }
                (None, _) => instance.push(attribute),
            }
        }
        instance
    }

    /// Whether something of it is deprecated, be it by an option.
    fn is_deprecated(&self) -> bool {
        let attributes = self.service.attributes.iter();
        let mut attributes =
            attributes.flat_map(|text| super::attributes(text).unwrap_or_default());
        self.service.deprecated
            || self.service.rpcs.iter().any(|rpc| rpc.deprecated)
            || attributes.any(|attribute| attribute.path().is_ident("deprecated"))
    }

    /// The name on the wire that stands for one of the model's.
    fn wire_name(&self, model: &str) -> Option<&str> {
        match self.rpc {
            _ if model == MODEL => Some(&self.service.wire),
            Some(rpc) if is_model_rpc(model) == Some(rpc.kind) => Some(&rpc.wire),
            _ => None,
        }
    }
}

impl VisitMut for Instance<'_> {
    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        let mut items = std::mem::take(&mut item.items);
        visit_mut::visit_item_trait_mut(self, item);
        for attribute in &self.service.attributes {
            // The options have parsed it before.
            item.attrs
                .extend(super::attributes(attribute).unwrap_or_default());
        }
        self.repeat(
            &mut items,
            Self::visit_trait_item_mut as fn(&mut Self, &mut TraitItem),
        );
        item.items = items;
    }

    fn visit_trait_item_fn_mut(&mut self, item: &mut syn::TraitItemFn) {
        visit_mut::visit_trait_item_fn_mut(self, item);
        let method = self.rpc.map_or("", |rpc| &rpc.rust);
        item.attrs.extend(unconventional(method));
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        let mut items = std::mem::take(&mut item.items);
        visit_mut::visit_item_impl_mut(self, item);
        self.repeat(
            &mut items,
            Self::visit_impl_item_mut as fn(&mut Self, &mut ImplItem),
        );
        item.items = items;
        // Whoever generated the call can't do without it.
        if self.is_deprecated() {
            item.attrs.push(parse_quote!(#[allow(deprecated)]));
        }
    }

    fn visit_item_struct_mut(&mut self, item: &mut syn::ItemStruct) {
        visit_mut::visit_item_struct_mut(self, item);
        // What it holds is there for rpcs.
        if self.service.rpcs.is_empty() {
            item.attrs.push(parse_quote!(#[allow(dead_code)]));
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        let Expr::Match(cases) = expression else {
            return visit_mut::visit_expr_mut(self, expression);
        };
        let mut arms = std::mem::take(&mut cases.arms);
        visit_mut::visit_expr_match_mut(self, cases);
        self.repeat(&mut arms, Self::visit_arm_mut as fn(&mut Self, &mut Arm));
        // A service without rpcs has nothing to tell apart.
        match <[Arm; 1]>::try_from(arms) {
            Ok([only]) => *expression = *only.body,
            Err(arms) => cases.arms = arms,
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        visit_mut::visit_arm_mut(self, arm);
        if let (Some(alias), Pat::Lit(name)) =
            (self.rpc.and_then(|rpc| rpc.alias.as_ref()), &arm.pat)
        {
            let alias = syn::LitByteStr::new(alias.as_bytes(), Span::call_site());
            arm.pat = parse_quote!(#name | #alias);
        }
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        visit_mut::visit_block_mut(self, block);
        // What was made ready for rpcs is not needed without any.
        for index in (0..block.stmts.len()).rev() {
            if let Stmt::Local(local) = &block.stmts[index] {
                let rest = &block.stmts[index + 1..];
                let used = |name| rest.iter().any(|stmt| mentions(stmt, name));
                if matches!(&local.pat, Pat::Ident(name) if !used(&name.ident)) {
                    block.stmts.remove(index);
                }
            }
        }
    }

    fn visit_type_mut(&mut self, ty: &mut Type) {
        let message = match (&*ty, self.rpc) {
            (Type::Path(path), Some(rpc)) if is_super(&path.path, "Request") => &rpc.input,
            (Type::Path(path), Some(rpc)) if is_super(&path.path, "Reply") => &rpc.output,
            _ => return visit_mut::visit_type_mut(self, ty),
        };
        if let Some(message) = self.message(message) {
            *ty = message;
        }
    }

    fn visit_path_mut(&mut self, path: &mut Path) {
        if path.leading_colon.is_some() {
            // An absolute path is no placeholder, but may have some as arguments.
            for segment in &mut path.segments {
                self.visit_path_arguments_mut(&mut segment.arguments);
            }
        } else {
            visit_mut::visit_path_mut(self, path);
        }
    }

    /// Methods of the runtime are no placeholders, whatever they are called; the
    /// template calls those of the model by path.
    fn visit_expr_method_call_mut(&mut self, call: &mut syn::ExprMethodCall) {
        self.visit_expr_mut(&mut call.receiver);
        if let Some(arguments) = &mut call.turbofish {
            self.visit_angle_bracketed_generic_arguments_mut(arguments);
        }
        for argument in &mut call.args {
            self.visit_expr_mut(argument);
        }
    }

    fn visit_ident_mut(&mut self, ident: &mut syn::Ident) {
        if let Some(word) = self.word(&ident.to_string()) {
            *ident = names::ident(&word);
        }
    }

    fn visit_lit_str_mut(&mut self, literal: &mut syn::LitStr) {
        if let Some(name) = self.wire_name(&literal.value()) {
            *literal = syn::LitStr::new(name, literal.span());
        }
    }

    fn visit_lit_byte_str_mut(&mut self, literal: &mut syn::LitByteStr) {
        if let Some(name) = self.wire_name(&String::from_utf8_lossy(&literal.value())) {
            *literal = syn::LitByteStr::new(name.as_bytes(), literal.span());
        }
    }

    fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
        *attributes = self.attributes(std::mem::take(attributes));
    }
}

/// Which of the model's rpcs has this name, in Rust or on the wire.
fn is_model_rpc(name: &str) -> Option<Kind> {
    let mut rpcs = MODEL_RPCS.iter();
    rpcs.find(|(_, rust, wire)| name == *rust || name == *wire)
        .map(|(kind, _, _)| *kind)
}

/// The model rpc that an item mentions; none if it mentions several.
fn model_rpc(item: &impl ToTokens) -> Option<Kind> {
    let mut kinds = Vec::new();
    words(item.to_token_stream(), &mut |word| {
        kinds.extend(is_model_rpc(word))
    });
    let (first, others) = kinds.split_first()?;
    others.iter().all(|kind| kind == first).then_some(*first)
}

fn mentions(item: &impl ToTokens, name: &syn::Ident) -> bool {
    let mut found = false;
    words(item.to_token_stream(), &mut |word| found |= name == word);
    found
}

/// Goes through the identifiers and strings among the tokens.
fn words(tokens: TokenStream, see: &mut impl FnMut(&str)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => words(group.stream(), see),
            TokenTree::Ident(ident) => see(&ident.to_string()),
            TokenTree::Literal(literal) => {
                let literal = literal.to_string();
                see(literal
                    .strip_prefix('b')
                    .unwrap_or(&literal)
                    .trim_matches('"'));
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// The text of a `#[doc = "..."]`.
fn doc(attribute: &Attribute) -> Option<String> {
    let meta = attribute.meta.require_name_value().ok()?;
    match &meta.value {
        Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) if meta.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

/// Adds a comment; without one the documentation that is there already stands for
/// itself, or the name does.
fn comment(attributes: &mut Vec<Attribute>, lines: &[String], name: &str) {
    for line in lines {
        let line = match line.as_str() {
            "" => String::new(),
            line => format!(" {line}"),
        };
        attributes.push(parse_quote!(#[doc = #line]));
    }
    if lines.is_empty() {
        match attributes.last().and_then(doc) {
            None => {
                let name = format!(" `{name}`");
                attributes.push(parse_quote!(#[doc = #name]));
            }
            Some(separator) if separator.is_empty() => {
                attributes.pop();
            }
            Some(_) => {}
        }
    }
}

fn deprecated(attributes: &mut Vec<Attribute>, deprecated: bool) {
    if deprecated {
        attributes.push(parse_quote!(#[deprecated]));
    }
}

/// Excuses a method whose name clippy expects another signature of.
fn unconventional(method: &str) -> Option<Attribute> {
    if method == "new" {
        Some(parse_quote!(#[allow(clippy::new_ret_no_self, clippy::wrong_self_convention)]))
    } else if method.starts_with("from_") || method.starts_with("into_") {
        Some(parse_quote!(#[allow(clippy::wrong_self_convention)]))
    } else {
        None
    }
}

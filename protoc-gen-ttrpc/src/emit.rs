//! Puts services into the templates.
//!
//! A template is parsed once for all the services of a run and fitted to the options;
//! `instance` then makes one copy for each service.

mod instance;

use proc_macro2::{Ident, Span};
use syn::parse::Parser;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, Expr, Item, Path, TraitItem};

use self::instance::Instance;
use crate::model::Service;
use crate::names;
use crate::options::{Backend, Options};

/// A template, fit for all the services of a run.
pub(crate) struct Template {
    items: Vec<Item>,
    nested: bool,
}

impl Template {
    /// Fits the template to the options. One that is `nested` goes into a module of its
    /// own, from which relative paths are one step longer.
    pub(crate) fn new(text: &str, options: &Options, nested: bool) -> syn::Result<Self> {
        let mut items = syn::parse_file(text)?.items;
        items.retain(|item| {
            let name = subject(item).unwrap_or_default();
            match name.as_str() {
                "ModelClient" => options.sides.first,
                "ModelServer" => options.sides.second,
                _ => true,
            }
        });
        let runtime = options.runtime_path.clone();
        let codec = match options.backend() {
            Backend::Protobuf => "Protobuf",
            Backend::Prost => "Prost",
            Backend::Buffa => "Buffa",
        };
        let mut fit = Fit {
            codec: path(&format!("{runtime}::codec::{codec}")),
            runtime: (runtime != RUNTIME).then_some(runtime),
            required_methods: options.required_methods,
        };
        for item in &mut items {
            fit.visit_item_mut(item);
        }
        Ok(Self { items, nested })
    }

    /// The items of one service.
    pub(crate) fn instantiate(&self, service: &Service) -> Vec<Item> {
        let mut instance = Instance {
            service,
            rpc: None,
            nested: self.nested,
        };
        let mut items = self.items.clone();
        for item in &mut items {
            instance.visit_item_mut(item);
        }
        items
    }
}

/// The runtime as the templates see it.
const RUNTIME: &str = "::ttrpc_runtime";

/// The type that an item declares or implements something for.
fn subject(item: &Item) -> Option<String> {
    match item {
        Item::Struct(item) => Some(item.ident.to_string()),
        Item::Impl(item) => match &*item.self_ty {
            syn::Type::Path(ty) => Some(ty.path.segments.last()?.ident.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// What the options change, the same for all services.
struct Fit {
    codec: Path,
    /// Where the runtime is, if not where the templates have it.
    runtime: Option<String>,
    required_methods: bool,
}

impl VisitMut for Fit {
    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        if is_super(path, "ModelCodec") {
            *path = self.codec.clone();
        }
        let is_runtime = path.leading_colon.is_some()
            && path
                .segments
                .first()
                .is_some_and(|first| first.ident == RUNTIME[2..]);
        if let (true, Some(runtime)) = (is_runtime, &self.runtime) {
            let mut moved = self::path(runtime);
            moved.segments.extend(path.segments.iter().skip(1).cloned());
            *path = moved;
        }
    }

    fn visit_trait_item_mut(&mut self, item: &mut TraitItem) {
        visit_mut::visit_trait_item_mut(self, item);
        if let (TraitItem::Fn(method), true) = (item, self.required_methods) {
            method.default = None;
            method.semi_token = Some(Default::default());
        }
    }

    /// Links in the documentation lead to the runtime as well.
    fn visit_attribute_mut(&mut self, attribute: &mut Attribute) {
        let (Some(runtime), syn::Meta::NameValue(meta)) = (&self.runtime, &mut attribute.meta)
        else {
            return;
        };
        if let Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) = &mut meta.value
        {
            *text = syn::LitStr::new(&text.value().replace(RUNTIME, runtime), text.span());
        }
    }
}

/// Outer attributes, as an option has them.
pub(crate) fn attributes(text: &str) -> syn::Result<Vec<Attribute>> {
    let attributes = Attribute::parse_outer.parse_str(text)?;
    if attributes.is_empty() {
        return Err(syn::Error::new(Span::call_site(), "expected an attribute"));
    }
    Ok(attributes)
}

/// Whether this is `super::name`.
fn is_super(path: &Path, name: &str) -> bool {
    let mut segments = path.segments.iter().map(|segment| &segment.ident);
    let mut next_is = |name: &str| segments.next().is_some_and(|ident: &Ident| ident == name);
    path.leading_colon.is_none() && next_is("super") && next_is(name)
}

/// The path to the same thing from one module further in.
fn nest(path: &str) -> String {
    let is_absolute = path.starts_with("::") || path.split("::").next() == Some("crate");
    if is_absolute {
        path.to_owned()
    } else {
        format!("super::{}", path.strip_prefix("self::").unwrap_or(path))
    }
}

/// A path of names that are known to be valid.
fn path(text: &str) -> Path {
    let relative = text.strip_prefix("::");
    Path {
        leading_colon: relative.map(|_| Default::default()),
        segments: relative
            .unwrap_or(text)
            .split("::")
            .map(|word| syn::PathSegment::from(names::ident(word)))
            .collect(),
    }
}

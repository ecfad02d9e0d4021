//! What is changed: walks the syntax of a file and notes, for each place, what may stand there instead.
//!
//! At least the operators of cargo-mutants (bodies, binary and unary operators, arms, guards, compound assignments,
//! fields before a `..rest`), and constants by one, flipped `true` and `false`, negated `matches!`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Lit, Pat, ReturnType, Stmt, Type, UnOp};

/// One small change, by its place in the list of all.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Stays the same while lines move: the file, the function, what became what, and which of several.
    pub key: String,
    pub line: usize,
}

/// What is done to a range of the source. Numbers are those of mutants.
#[derive(Clone, Debug)]
pub enum Change {
    /// Another expression: each of these, else what was there.
    Instead(Vec<(usize, String)>),
    /// A guard that always or never holds.
    Guard { always: usize, never: usize },
    /// An arm that is not there; the arm has a guard already or not.
    Arm { gone: usize, guarded: bool },
    /// Statements at the beginning of a body.
    Early(Vec<(usize, String)>),
    /// A body that gives an iterator: without its items.
    Nothing(usize),
    /// The word `const` before a function that no constant needs.
    NotConst,
}

/// All changes of one file.
pub struct File {
    pub path: String,
    pub source: String,
    /// In the order of the walk: an outer one before those within it.
    pub changes: Vec<(Range<usize>, Change)>,
}

/// What is not changed, and how often.
pub type Skipped = BTreeMap<&'static str, usize>;

pub struct Walk<'a> {
    file: &'a str,
    source: &'a str,
    within: Vec<String>,
    /// Functions that constants need, which cannot ask for a switch.
    constant: &'a BTreeSet<String>,
    seen: BTreeMap<String, usize>,
    changes: Vec<(Range<usize>, Change)>,
    mutants: &'a mut Vec<Mutant>,
    skipped: &'a mut Skipped,
}

pub fn walk(
    path: &str,
    source: String,
    constant: &BTreeSet<String>,
    mutants: &mut Vec<Mutant>,
    skipped: &mut Skipped,
) -> File {
    let syntax = syn::parse_file(&source).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut walk = Walk {
        file: path,
        source: &source,
        within: Vec::new(),
        constant,
        seen: BTreeMap::new(),
        changes: Vec::new(),
        mutants,
        skipped,
    };
    walk.visit_file(&syntax);
    let changes = walk.changes;
    File { path: path.into(), source, changes }
}

fn range(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

/// What may stand for an operator.
fn others(op: &BinOp) -> &'static [&'static str] {
    match op {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">", "<"],
        BinOp::Ge(_) => &["<", ">"],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["&", "|"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::BitAndAssign(_) => &["|=", "^="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        BinOp::BitXorAssign(_) => &["&=", "|="],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::ShrAssign(_) => &["<<="],
        _ => &[],
    }
}

/// Values that a body might give instead of its own.
fn values(kind: &Type, deep: usize) -> Vec<String> {
    let of = |arguments: &syn::PathArguments| match arguments {
        syn::PathArguments::AngleBracketed(all) => all.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(inner) if deep < 2 => Some(values(inner, deep + 1)),
            _ => None,
        }),
        _ => None,
    };
    match kind {
        Type::Paren(inner) => values(&inner.elem, deep),
        Type::Tuple(tuple) if tuple.elems.is_empty() => vec!["()".into()],
        Type::Tuple(tuple) => {
            let mut all = vec![String::new()];
            for part in &tuple.elems {
                let parts = values(part, deep + 1);
                all =
                    all.iter().flat_map(|one| parts.iter().map(move |part| format!("{one}{part}, "))).take(8).collect();
            }
            all.into_iter().map(|inner| format!("({inner})")).collect()
        }
        Type::Array(array) => {
            values(&array.elem, deep + 1).into_iter().map(|one| format!("core::array::from_fn(|_| {one})")).collect()
        }
        Type::Reference(inner) => match &*inner.elem {
            Type::Path(path) if path.path.is_ident("str") => vec!["\"\"".into(), "\"xyzzy\"".into()],
            Type::Slice(slice) => {
                let mut all = vec!["&[]".to_string()];
                all.extend(values(&slice.elem, deep + 1).into_iter().map(|one| format!("Vec::leak(vec![{one}])")));
                all
            }
            other => values(other, deep + 1).into_iter().map(|one| format!("Box::leak(Box::new({one}))")).collect(),
        },
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Vec::new() };
            let some = |wrap: &str, first: &[&str]| {
                let mut all: Vec<String> = first.iter().map(|s| s.to_string()).collect();
                all.extend(of(&last.arguments).unwrap_or_default().iter().map(|one| wrap.replace('_', one)));
                all
            };
            match last.ident.to_string().as_str() {
                "bool" => vec!["true".into(), "false".into()],
                "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => vec!["0".into(), "1".into()],
                "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => vec!["0".into(), "1".into(), "-1".into()],
                "f32" | "f64" => vec!["0.0".into(), "1.0".into(), "-1.0".into()],
                "char" => vec!["'x'".into()],
                "String" => vec!["String::new()".into(), "String::from(\"xyzzy\")".into()],
                "Option" => some("Some(_)", &["None"]),
                "Vec" => some("vec![_]", &["vec![]"]),
                "Box" => some("Box::new(_)", &[]),
                "Result" => some("Ok(_)", &[]),
                _ => vec!["Default::default()".into()],
            }
        }
        _ => Vec::new(),
    }
}

impl Walk<'_> {
    fn text(&self, range: Range<usize>) -> &str {
        self.source.get(range).unwrap_or_default()
    }

    fn short(&self, range: Range<usize>) -> String {
        let words: Vec<&str> = self.text(range).split_whitespace().collect();
        let text = words.join(" ");
        if text.chars().count() > 70 { text.chars().take(69).collect::<String>() + "…" } else { text }
    }

    /// Notes a mutant and gives its number.
    fn mutant(&mut self, node: &impl Spanned, what: &str) -> usize {
        let base = format!("{} {}: {what}", self.file, self.within.join("::"));
        let nth = self.seen.entry(base.clone()).or_insert(0);
        *nth += 1;
        let key = if *nth == 1 { base } else { format!("{base} ({nth})") };
        self.mutants.push(Mutant { key, line: node.span().start().line });
        // Number 0 means that none is on.
        self.mutants.len()
    }

    fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_insert(0) += 1;
    }

    fn instead(&mut self, node: &impl Spanned, all: Vec<(String, String)>) {
        let listed = all.into_iter().map(|(what, text)| (self.mutant(node, &what), text)).collect();
        self.changes.push((range(node), Change::Instead(listed)));
    }

    fn binary(&mut self, node: &syn::ExprBinary) {
        if has_let(&node.left) || has_let(&node.right) {
            if !others(&node.op).is_empty() {
                self.skip("conditions with `let`, of which only the parts are changed");
            }
            return;
        }
        let (left, right) = (self.text(range(&*node.left)).to_string(), self.text(range(&*node.right)).to_string());
        let (op, shown) = (self.text(range(&node.op)).to_string(), self.short(range(node)));
        let assigns = op.ends_with('=') && !["==", "!=", "<=", ">="].contains(&op.as_str());
        let all = others(&node.op).iter().map(|other| {
            let text = if assigns { format!("{left} {other} {right}") } else { format!("({left}) {other} ({right})") };
            (format!("`{op}` to `{other}` in `{shown}`"), text)
        });
        let all: Vec<(String, String)> = all.collect();
        if !all.is_empty() {
            self.instead(node, all);
        }
    }

    fn literal(&mut self, node: &syn::ExprLit) {
        let shown = self.text(range(node)).to_string();
        match &node.lit {
            Lit::Int(int) => {
                let Ok(value) = int.base10_parse::<u128>() else { return };
                let suffix = int.suffix();
                let mut all = vec![(format!("`{shown}` to one more"), format!("{}{suffix}", value + 1))];
                if value > 0 {
                    all.push((format!("`{shown}` to one less"), format!("{}{suffix}", value - 1)));
                }
                self.instead(node, all);
            }
            Lit::Bool(value) => {
                self.instead(node, vec![(format!("`{shown}` to its opposite"), (!value.value).to_string())])
            }
            _ => {}
        }
    }

    /// What a function gives at once, instead of what it does.
    fn body(&mut self, output: &ReturnType, block: &syn::Block) {
        if block.stmts.is_empty() {
            return;
        }
        let opened = block.brace_token.span.open().byte_range().end;
        let kind = match output {
            ReturnType::Default => {
                let gone = self.mutant(block, "the body to nothing");
                self.changes.push((opened..opened, Change::Early(vec![(gone, "()".into())])));
                return;
            }
            ReturnType::Type(_, kind) => kind,
        };
        if let Type::ImplTrait(given) = &**kind {
            let shown = self.text(range(given)).to_string();
            if shown.contains("Iterator") {
                let gone = self.mutant(block, "the body to an iterator of nothing");
                self.changes.push((range(block), Change::Nothing(gone)));
            } else {
                self.skip("bodies that give an `impl` of something else than an iterator");
            }
            return;
        }
        let all = values(kind, 0);
        if all.is_empty() {
            self.skip("bodies whose type has no value that is known");
            return;
        }
        let listed = all.into_iter().map(|value| (self.mutant(block, &format!("the body to `{value}`")), value));
        let listed = listed.collect();
        self.changes.push((opened..opened, Change::Early(listed)));
    }

    fn function(&mut self, name: &str, signature: &syn::Signature, visit_block: &syn::Block) {
        self.within.push(name.into());
        if let Some(word) = &signature.constness {
            if self.constant.contains(name) {
                self.skip("functions that constants need");
                self.within.pop();
                return;
            }
            self.changes.push((word.span.byte_range(), Change::NotConst));
        }
        self.body(&signature.output, visit_block);
        self.visit_block(visit_block);
        self.within.pop();
    }

    fn arms(&mut self, node: &syn::ExprMatch) {
        let last_catches = node.arms.last().is_some_and(|arm| arm.guard.is_none() && catches(&arm.pat));
        for (at, arm) in node.arms.iter().enumerate() {
            if last_catches && at + 1 < node.arms.len() {
                let shown = self.short(range(&arm.pat));
                let gone = self.mutant(arm, &format!("without the arm `{shown}`"));
                match &arm.guard {
                    None => {
                        let end = range(&arm.pat).end;
                        self.changes.push((end..end, Change::Arm { gone, guarded: false }));
                    }
                    Some((_, guard)) => self.changes.push((range(&**guard), Change::Arm { gone, guarded: true })),
                }
            }
            if let Some((_, guard)) = &arm.guard {
                let shown = self.short(range(&**guard));
                let always = self.mutant(&**guard, &format!("the guard `{shown}` to `true`"));
                let never = self.mutant(&**guard, &format!("the guard `{shown}` to `false`"));
                self.changes.push((range(&**guard), Change::Guard { always, never }));
            }
        }
    }

    fn fields(&mut self, node: &syn::ExprStruct) {
        if node.rest.is_none() {
            return;
        }
        let whole = range(node);
        let mut all = Vec::new();
        for field in &node.fields {
            let shown = self.short(range(&field.member));
            let cut = range(field);
            let after = self.text(cut.end..whole.end);
            let comma = after.find(',').map_or(0, |at| at + 1);
            let text = format!("{}{}", self.text(whole.start..cut.start), &after[comma..]);
            all.push((format!("without the field `{shown}` before `..`"), text));
        }
        if !all.is_empty() {
            self.instead(node, all);
        }
    }
}

fn has_let(node: &Expr) -> bool {
    match node {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// Whether a pattern matches everything.
fn catches(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(ident) => ident.subpat.is_none() && ident.ident.to_string().starts_with(char::is_lowercase),
        _ => false,
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::NameValue(_) => false,
    })
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if !is_test(&node.attrs) {
            visit::visit_item_mod(self, node);
        }
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        let name = self.short(range(&*node.self_ty));
        let base = name.split('<').next().unwrap_or_default().to_string();
        self.within.push(base);
        node.items.iter().for_each(|item| self.visit_impl_item(item));
        self.within.pop();
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if !is_test(&node.attrs) {
            self.function(&node.sig.ident.to_string(), &node.sig, &node.block);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        if !is_test(&node.attrs) {
            self.function(&node.sig.ident.to_string(), &node.sig, &node.block);
        }
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {
        self.skip("constants and statics");
    }

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {
        self.skip("constants and statics");
    }

    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {
        self.skip("constants and statics");
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        if node.discriminant.is_some() {
            self.skip("constants and statics");
        }
    }

    fn visit_item_macro(&mut self, _: &'ast syn::ItemMacro) {
        self.skip("uses of macros, within which nothing is changed");
    }

    fn visit_pat(&mut self, _: &'ast Pat) {}

    fn visit_type(&mut self, _: &'ast Type) {}

    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_stmt(&mut self, node: &'ast Stmt) {
        if let Stmt::Macro(call) = node {
            self.visit_macro(&call.mac);
        } else {
            visit::visit_stmt(self, node);
        }
    }

    fn visit_macro(&mut self, _: &'ast syn::Macro) {
        self.skip("uses of macros, within which nothing is changed");
    }

    fn visit_expr(&mut self, node: &'ast Expr) {
        match node {
            Expr::Const(_) => return self.skip("constants and statics"),
            Expr::Repeat(repeat) => return self.visit_expr(&repeat.expr),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Lit(literal) => self.literal(literal),
            Expr::Unary(unary) => {
                let shown = self.short(range(unary));
                let inner = self.text(range(&*unary.expr)).to_string();
                if matches!(unary.op, UnOp::Not(_)) {
                    self.instead(unary, vec![(format!("without `!` in `{shown}`"), inner)]);
                } else if matches!(unary.op, UnOp::Neg(_)) {
                    self.instead(unary, vec![(format!("without `-` in `{shown}`"), inner)]);
                }
            }
            Expr::Macro(call) if call.mac.path.is_ident("matches") => {
                let (shown, text) = (self.short(range(call)), self.text(range(call)).to_string());
                self.instead(call, vec![(format!("`{shown}` to its opposite"), format!("!{text}"))]);
                return;
            }
            Expr::Match(node) => self.arms(node),
            Expr::Struct(node) => self.fields(node),
            _ => {}
        }
        visit::visit_expr(self, node);
    }
}

//! What a walk asks of a tree. The explanations that come with each question are not looked at.

use super::{Absent, Reading};
use crate::policy::{
    codes::{self, Code},
    path::Step,
    source::{Count, Form, Source},
    tree::{Entry, Node, Value},
};

/// The work itself, out of line: the questions are many, and only their explanations need inlining.
impl<'n> Reading<'n> {
    #[inline(never)]
    fn read_required<F: Form>(&mut self, name: &'static str, form: &F) -> Option<F::Out> {
        if !self.has(name) {
            let expected = form.read(&Value::Null).err().map_or_else(String::new, |w| w.expected);
            self.missing(name, &expected);
        }
        self.field(name, form)
    }

    #[inline(never)]
    fn read_list<F: Form>(&mut self, name: &'static str, form: &F, count: Count) -> Option<Vec<F::Out>> {
        let items = self.items(name, count)?;
        let mut out = Vec::with_capacity(items.len());
        self.each(name, items, &mut |r, node| out.extend(r.scalar(form, node)));
        Some(out)
    }

    /// Goes through the items of a list, none of which may be there twice.
    #[inline(never)]
    fn each(&mut self, name: &'static str, items: &'n [Node], read: &mut dyn FnMut(&mut Self, &'n Node)) {
        self.within(Step::Field(name), |r| {
            for (i, node) in items.iter().enumerate() {
                r.within(Step::Item(i), |r| {
                    if items.iter().take(i).any(|earlier| earlier.value == node.value) {
                        r.note(codes::REPEATED, node.at, node.value.to_string(), String::from("each value once"));
                    }
                    read(r, node);
                });
            }
        });
    }

    #[inline(never)]
    fn read_map<K: Form, F: Form>(&mut self, name: &'static str, form: &(K, F)) -> Vec<(K::Out, F::Out)> {
        let entries = self.entries(name);
        self.within(Step::Field(name), |r| {
            let read = |entry: &'n Entry| {
                r.within(Step::Field(&entry.key), |r| {
                    let (key, value) = (r.key(&form.0, entry), r.scalar(&form.1, &entry.node));
                    Some((key?, value?))
                })
            };
            entries.into_iter().filter_map(read).collect()
        })
    }
}

#[expect(clippy::inline_always, reason = "so that the explanations never reach the module")]
impl<'n> Source for Reading<'n> {
    #[inline(always)]
    fn required<F: Form>(&mut self, name: &'static str, _doc: &'static str, form: F) -> Option<F::Out> {
        self.read_required(name, &form)
    }

    #[inline(always)]
    fn optional<F: Form>(&mut self, name: &'static str, _doc: &'static str, form: F) -> Option<F::Out> {
        self.field(name, &form)
    }

    #[inline(always)]
    fn or<F: Form>(&mut self, name: &'static str, _doc: &'static str, form: F, default: F::Out) -> F::Out {
        self.field(name, &form).unwrap_or(default)
    }

    #[inline(always)]
    fn list<F: Form>(&mut self, name: &'static str, _doc: &'static str, form: F, count: Count) -> Option<Vec<F::Out>> {
        self.read_list(name, &form, count)
    }

    #[inline(always)]
    fn map<K: Form, F: Form>(&mut self, name: &'static str, _doc: &'static str, form: (K, F)) -> Vec<(K::Out, F::Out)> {
        self.read_map(name, &form)
    }

    #[inline(always)]
    fn section<T>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if !self.open(name, Absent::Missing) {
            return None;
        }
        let value = walk(self);
        self.close();
        value
    }

    #[inline(always)]
    fn section_or_empty<T>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if !self.open(name, Absent::Empty) {
            return None;
        }
        let value = walk(self);
        self.close();
        value
    }

    #[inline(always)]
    fn section_if<T>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if !self.open(name, Absent::Skipped) {
            return None;
        }
        let value = walk(self);
        self.close();
        value
    }

    #[inline(always)]
    fn sections<T>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        count: Count,
        mut walk: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<T> {
        let items = self.items(name, count).unwrap_or_default();
        let mut read = Vec::with_capacity(items.len());
        self.within(Step::Field(name), |r| {
            for (i, node) in items.iter().enumerate() {
                read.extend(r.within(Step::Item(i), |r| r.enter(node, &mut walk)));
            }
        });
        read
    }

    #[inline(always)]
    fn section_map<K: Form, T>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        key: K,
        mut walk: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<(K::Out, T)> {
        let entries = self.entries(name);
        self.within(Step::Field(name), |r| {
            let read = |entry: &'n Entry| {
                r.within(Step::Field(&entry.key), |r| {
                    let (key, value) = (r.key(&key, entry), r.enter(&entry.node, &mut walk));
                    Some((key?, value?))
                })
            };
            entries.into_iter().filter_map(read).collect()
        })
    }

    fn wrong(&mut self, name: &'static str, code: Code, expected: &str) {
        let frame = self.frames.last();
        let entry = frame.and_then(|f| f.entries.iter().find(|e| e.key == name));
        let at = entry.map(|e| e.node.at).or(frame.map(|f| f.at)).unwrap_or_default();
        let found = entry.map_or_else(String::new, |e| e.node.value.to_string());
        self.within(Step::Field(name), |r| r.note(code, at, found, String::from(expected)));
    }

    fn has(&self, name: &str) -> bool {
        self.frames.last().is_some_and(|f| f.entries.iter().any(|e| e.key == name))
    }

    fn again(&mut self, _name: &'static str) -> bool {
        false
    }
}

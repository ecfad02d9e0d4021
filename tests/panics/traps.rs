//! Which `unreachable` of a module anything can come to, and how: its blocks are followed, what never returns is left out.

use std::collections::BTreeSet;
use wasmparser::{Operator, Parser, Payload, TypeRef};

/// How something comes to a place: not at all, by a table of branches alone, or otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    #[default]
    None,
    Table,
    Other,
}

/// A block that stands open while a function is read.
struct Open {
    is_loop: bool,
    /// It is passed by where nothing comes into it: an `if` without its other half.
    passed: bool,
    entered: Way,
    /// How its end is come to.
    left: Way,
}

/// The `unreachable` of a module, or of a function, that do not stand behind what never returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traps {
    /// All that there are.
    pub(crate) all: usize,
    /// Whole functions.
    pub(crate) functions: usize,
    /// What a table of branches alone goes to.
    pub(crate) tables: usize,
    /// The rest.
    pub(crate) others: usize,
}

/// Follows a function; says whether it can return.
fn walk<'a>(operators: impl Iterator<Item = Operator<'a>>, endless: &BTreeSet<u32>, traps: &mut Traps) -> bool {
    let open = |entered, is_loop, passed| Open { is_loop, passed, entered, left: Way::None };
    let mut blocks = vec![open(Way::Other, false, false)];
    let (mut live, mut returns) = (Way::Other, false);
    for (nth, operator) in operators.enumerate() {
        let mut leave = |depth: u32, way: Way| {
            let at = blocks.len() - 1 - depth as usize;
            // Back to a loop's beginning is not out of it.
            if live != Way::None && !blocks[at].is_loop {
                blocks[at].left = blocks[at].left.max(way);
            }
        };
        match operator {
            Operator::Block { .. } => blocks.push(open(live, false, false)),
            Operator::Loop { .. } => {
                live = if live == Way::None { Way::None } else { Way::Other };
                blocks.push(open(live, true, false));
            }
            Operator::If { .. } => {
                live = if live == Way::None { Way::None } else { Way::Other };
                blocks.push(open(live, false, true));
            }
            Operator::Else => {
                let of = blocks.last_mut().unwrap();
                (of.left, of.passed) = (of.left.max(live), false);
                live = of.entered;
            }
            Operator::End => {
                let of = blocks.pop().unwrap();
                live = live.max(of.left).max(if of.passed { of.entered } else { Way::None });
                returns |= blocks.is_empty() && live != Way::None;
            }
            Operator::Br { relative_depth } => {
                leave(relative_depth, live);
                live = Way::None;
            }
            Operator::BrIf { relative_depth } => {
                leave(relative_depth, Way::Other);
                live = if live == Way::None { Way::None } else { Way::Other };
            }
            Operator::BrTable { targets } => {
                leave(targets.default(), Way::Table);
                targets.targets().for_each(|depth| leave(depth.unwrap(), Way::Table));
                live = Way::None;
            }
            Operator::Return => {
                returns |= live != Way::None;
                live = Way::None;
            }
            Operator::Unreachable => {
                traps.all += 1;
                match live {
                    Way::None => {}
                    Way::Table => traps.tables += 1,
                    Way::Other if nth == 0 => traps.functions += 1,
                    Way::Other => traps.others += 1,
                }
                live = Way::None;
            }
            Operator::Call { function_index } if endless.contains(&function_index) => live = Way::None,
            _ if live == Way::Table => live = Way::Other,
            _ => {}
        }
    }
    returns
}

impl Traps {
    pub(crate) fn of(module: &[u8]) -> Self {
        let (mut imported, mut bodies) = (0, Vec::new());
        // Functions that never return: first of all the one that ends the program.
        let mut endless = BTreeSet::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload.unwrap() {
                Payload::ImportSection(section) => {
                    for import in section.into_iter().map(Result::unwrap) {
                        if matches!(import.ty, TypeRef::Func(_)) {
                            if import.name == "proc_exit" {
                                endless.insert(imported);
                            }
                            imported += 1;
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                _ => {}
            }
        }
        // Who calls one that never returns may never return: until nothing more is known.
        loop {
            let (before, mut found) = (endless.len(), Self::default());
            for (function, body) in (imported..).zip(&bodies) {
                let operators = body.get_operators_reader().unwrap().into_iter().map(Result::unwrap);
                if !walk(operators, &endless, &mut found) {
                    endless.insert(function);
                }
            }
            if endless.len() == before {
                return found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of functions without anything but code: two kinds of them, all of nothing to nothing.
    fn module(bodies: &[&[u8]]) -> Vec<u8> {
        let section = |id: u8, content: Vec<u8>| [vec![id, content.len() as u8], content].concat();
        let many = bodies.len() as u8;
        let code = bodies.iter().flat_map(|body| [vec![body.len() as u8 + 2, 0], body.to_vec(), vec![END]].concat());
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(section(1, vec![1, 0x60, 0, 0]));
        module.extend(section(3, [vec![many], vec![0; bodies.len()]].concat()));
        module.extend(section(10, std::iter::once(many).chain(code).collect()));
        module
    }

    const TRAP: u8 = 0x00;
    const BLOCK: [u8; 2] = [0x02, 0x40];
    const LOOP: [u8; 2] = [0x03, 0x40];
    const IF: [u8; 2] = [0x04, 0x40];
    const ELSE: u8 = 0x05;
    const END: u8 = 0x0b;
    const ZERO: [u8; 2] = [0x41, 0];

    fn of(bodies: &[&[u8]]) -> [usize; 4] {
        let found = Traps::of(&module(bodies));
        [found.all - found.functions - found.tables - found.others, found.functions, found.tables, found.others]
    }

    #[test]
    fn traps_are_told_apart_by_how_anything_comes_to_them() {
        let (b, l, i, z) = (BLOCK, LOOP, IF, ZERO);
        assert_eq!(of(&[&[TRAP]]), [0, 1, 0, 0], "a whole function");
        assert_eq!(of(&[&[0x01, TRAP]]), [0, 0, 0, 1]);
        // One behind a call of who never returns, through another that does not either.
        assert_eq!(of(&[&[0x10, 1, TRAP], &[0x10, 2, TRAP], &[0x01, TRAP]]), [2, 0, 0, 1]);
        assert_eq!(of(&[&[0x10, 1, TRAP], &[]]), [0, 0, 0, 1], "who is called returns");
        // Behind a return, a branch, an endless loop; not where a branch leads out over it.
        assert_eq!(of(&[&[0x0f, TRAP]]), [1, 0, 0, 0]);
        assert_eq!(of(&[&[b[0], b[1], 0x0c, 1, END, TRAP]]), [1, 0, 0, 0]);
        assert_eq!(of(&[&[b[0], b[1], 0x0c, 0, END, TRAP]]), [0, 0, 0, 1]);
        assert_eq!(of(&[&[l[0], l[1], 0x0c, 0, END, TRAP]]), [1, 0, 0, 0]);
        assert_eq!(of(&[&[b[0], b[1], z[0], z[1], 0x0d, 0, 0x0f, END, TRAP]]), [0, 0, 0, 1]);
        // Of two halves one may come to it; and past a half that is not there.
        assert_eq!(of(&[&[z[0], z[1], i[0], i[1], 0x0f, ELSE, 0x0f, END, TRAP]]), [1, 0, 0, 0]);
        assert_eq!(of(&[&[z[0], z[1], i[0], i[1], 0x0f, ELSE, END, TRAP]]), [0, 0, 0, 1]);
        assert_eq!(of(&[&[z[0], z[1], i[0], i[1], 0x0f, END, TRAP]]), [0, 0, 0, 1]);
        // By a table alone, by a table and otherwise, after something else.
        let table = [b[0], b[1], z[0], z[1], 0x0e, 1, 1, 0, END];
        assert_eq!(of(&[&[table.as_slice(), &[TRAP]].concat()]), [0, 0, 1, 0]);
        assert_eq!(of(&[&[table.as_slice(), &[0x01, TRAP]].concat()]), [0, 0, 0, 1]);
        let also = [b[0], b[1], z[0], z[1], 0x0d, 0, z[0], z[1], 0x0e, 1, 1, 0, END, TRAP];
        assert_eq!(of(&[&also]), [0, 0, 0, 1]);
    }
}

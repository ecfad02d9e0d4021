//! The series that this VM has declared. A proxy keeps every declaration for as long as the VM lives, the same name
//! again too, and each configuration declares all of its series: after some thousand policies that is most of the
//! VM's memory. So each is declared once.

use crate::filter::{HostError, MetricKind};
use hashbrown::HashMap;
use std::cell::RefCell;

/// Beyond so many names, policies change their names faster than they are worth remembering.
const MOST: usize = 1 << 16;

thread_local! {
    static DECLARED: RefCell<HashMap<String, u32>> = RefCell::new(HashMap::new());
}

/// The number of a series, from the proxy if it is new.
pub(super) fn number(
    kind: MetricKind,
    name: &str,
    declare: impl FnOnce() -> Result<u32, HostError>,
) -> Result<u32, HostError> {
    let key = format!("{}{name}", kind as u32);
    DECLARED.with_borrow_mut(|declared| {
        if let Some(number) = declared.get(&key) {
            return Ok(*number);
        }
        let number = declare()?;
        if declared.len() < MOST {
            declared.insert(key, number);
        }
        Ok(number)
    })
}

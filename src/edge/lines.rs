//! What the role logs, as lines of the proxy's log.

use super::abi::{Proxy, log_line};

impl log::Log for Proxy {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                log::Level::Trace => 0,
                log::Level::Debug => 1,
                log::Level::Info => 2,
                log::Level::Warn => 3,
                log::Level::Error => 4,
            };
            log_line(level, &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

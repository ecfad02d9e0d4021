//! Which of the two roles a plugin configuration asks for, and the calls that both understand.

use super::Host;
use super::config::{Config, parse};
use super::placement::{Placement, Verdict};
use super::telemetry::{Telemetry, Visit};

/// A configured role.
#[derive(Debug)]
pub enum Role {
    /// Decides requests.
    Placement(Box<Placement>),
    /// Keeps the substrates' health.
    Telemetry(Box<Telemetry>),
}

impl Role {
    /// Reads the plugin configuration and starts the role that it names.
    ///
    /// # Errors
    /// One line that names the first place that is wrong, what was expected, and how many more mistakes there are.
    pub fn configure<H: Host>(host: &H) -> Result<Self, String> {
        let text = host.plugin_configuration().map_err(|e| format!("berth: no plugin configuration: {e}"))?;
        match parse(&text)? {
            Config::Placement(config) => Ok(Self::Placement(Box::new(Placement::configure(host, *config)?))),
            Config::Telemetry(config) => Ok(Self::Telemetry(Box::new(Telemetry::configure(host, *config)?))),
        }
    }

    /// Time has passed.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        match self {
            Self::Placement(role) => role.on_tick(host),
            Self::Telemetry(role) => role.on_tick(host),
        }
    }

    /// A call that this role sent was answered, or failed.
    pub fn on_call<H: Host>(&mut self, host: &H, token: u32, body_size: usize) {
        match self {
            Self::Placement(_) => {}
            Self::Telemetry(role) => role.on_call(host, token, body_size),
        }
    }

    /// A request's headers have arrived.
    pub fn on_request<H: Host>(&mut self, host: &H) -> Verdict {
        match self {
            Self::Placement(role) => role.on_request(host),
            Self::Telemetry(_) => Verdict::Continue,
        }
    }

    /// The same, for a stream that keeps what this gives it until its body has come.
    pub fn arrive<H: Host>(&mut self, host: &H, ends: bool) -> (Verdict, Option<Visit>) {
        match self {
            Self::Placement(role) => (role.on_request(host), None),
            Self::Telemetry(role) => role.arrive(host, ends),
        }
    }

    /// More of the body of a held request has arrived; `size` is all of it so far.
    pub fn on_body<H: Host>(&mut self, host: &H, visit: &Visit, size: usize, ends: bool) -> Verdict {
        match self {
            Self::Placement(_) => Verdict::Continue,
            Self::Telemetry(role) => role.on_body(host, visit, size, ends),
        }
    }
}

//! Which of the two roles a plugin configuration asks for, and the calls that both understand.

use super::config::{Config, Telemetric, parse};
use super::observing::{Attempt, Observing};
use super::placement::{Placement, Verdict};
use super::telemetry::{Telemetry, Visit};
use super::{Host, Vm};

/// What a stream keeps until its body has come.
#[derive(Debug)]
pub enum Kept {
    /// A visit at the telemetry listener.
    Visit(Visit),
    /// A request that is placed by what its body says.
    Request(u32),
}

/// A configured role.
#[derive(Debug)]
pub enum Role {
    /// Decides requests.
    Placement(Box<Placement>),
    /// Keeps the substrates' health.
    Telemetry(Box<Telemetry>, Telemetric),
    /// Sees the attempts of a cluster.
    Observing(Box<Observing>, Telemetric),
}

impl Role {
    /// Reads the plugin configuration and starts the role that it names.
    ///
    /// # Errors
    /// One line that names the first place that is wrong, what was expected, and how many more mistakes there are.
    pub fn configure<H: Host>(host: &H) -> Result<Self, String> {
        Self::configure_in(host, &Vm::default())
    }

    /// The same in a VM that has other roots.
    ///
    /// # Errors
    /// As [`Role::configure`].
    pub fn configure_in<H: Host>(host: &H, vm: &Vm) -> Result<Self, String> {
        let text = host.plugin_configuration().map_err(|e| format!("berth: no plugin configuration: {e}"))?;
        match parse(&text)? {
            Config::Placement(config) => Ok(Self::Placement(Box::new(Placement::configure_in(host, *config, vm)?))),
            Config::Telemetry(config, has) => {
                Ok(Self::Telemetry(Box::new(Telemetry::configure_in(host, *config, vm)?), has))
            }
            Config::Observing(config, has) => {
                Ok(Self::Observing(Box::new(Observing::configure(host, config, vm)?), has))
            }
        }
    }

    /// How often it asks for the time to pass, in milliseconds; only placement says so.
    #[must_use]
    pub const fn tick_ms(&self) -> u32 {
        match self {
            Self::Placement(role) => role.tick_ms(),
            Self::Telemetry(..) | Self::Observing(..) => 0,
        }
    }

    /// Time has passed.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        match self {
            Self::Placement(role) => role.on_tick(host),
            Self::Telemetry(role, _) => role.on_tick(host),
            Self::Observing(role, _) => role.on_tick(host),
        }
    }

    /// A call that this role sent was answered, or failed.
    pub fn on_call<H: Host>(&mut self, host: &H, token: u32, body_size: usize) {
        match self {
            Self::Placement(_) | Self::Observing(..) => {}
            Self::Telemetry(role, _) => role.on_call(host, token, body_size),
        }
    }

    /// A request without a body has arrived, on a stream that nothing else is known of.
    pub fn on_request<H: Host>(&mut self, host: &H) -> Verdict {
        match self {
            Self::Placement(role) => role.arrive(host, 0, true),
            Self::Telemetry(..) | Self::Observing(..) => Verdict::Continue,
        }
    }

    /// Whether the streams of this role are attempts.
    #[must_use]
    pub const fn observes(&self) -> bool {
        matches!(self, Self::Observing(..))
    }

    /// An attempt begins.
    pub fn on_attempt<H: Host>(&mut self, host: &H) -> Attempt {
        match self {
            Self::Observing(role, _) => role.on_attempt(host),
            _ => Attempt::default(),
        }
    }

    /// The headers of an attempt's answer are there.
    pub fn on_answer<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if let Self::Observing(role, _) = self {
            role.on_answer(host, attempt);
        }
    }

    /// The first message of an answer whose headers said nothing yet.
    pub fn on_message<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if let Self::Observing(role, _) = self {
            role.on_message(host, attempt);
        }
    }

    /// The trailers of an attempt's answer are there.
    pub fn on_trailers<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if let Self::Observing(role, _) = self {
            role.on_trailers(host, attempt);
        }
    }

    /// An attempt has ended.
    pub fn on_end<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if let Self::Observing(role, _) = self {
            role.on_end(host, attempt);
        }
    }

    /// The same, for a stream that keeps what this gives it until its body has come.
    pub fn arrive<H: Host>(&mut self, host: &H, context: u32, ends: bool) -> (Verdict, Option<Kept>) {
        match self {
            Self::Placement(role) => {
                let verdict = role.arrive(host, context, ends);
                (verdict, (verdict == Verdict::Held).then_some(Kept::Request(context)))
            }
            Self::Telemetry(role, _) => {
                let (verdict, visit) = role.arrive(host, ends);
                (verdict, visit.map(Kept::Visit))
            }
            Self::Observing(..) => (Verdict::Continue, None),
        }
    }

    /// More of the body of a held request has arrived; `size` is all of it so far.
    pub fn on_body<H: Host>(&mut self, host: &H, kept: &Kept, size: usize, ends: bool) -> Verdict {
        match (self, kept) {
            (Self::Telemetry(role, _), Kept::Visit(visit)) => role.on_body(host, visit, size, ends),
            (Self::Placement(role), Kept::Request(context)) => role.on_body(host, *context, size, ends),
            _ => Verdict::Continue,
        }
    }

    /// The headers of a stream's answer have come.
    pub fn on_response<H: Host>(&mut self, host: &H, context: u32) {
        if let Self::Placement(role) = self {
            role.on_answer(host, context);
        }
    }

    /// A stream has ended, and the proxy still knows how.
    pub fn on_done<H: Host>(&mut self, host: &H, context: u32) {
        if let Self::Placement(role) = self {
            role.on_end(host, context);
        }
    }

    /// The root is gone, and this role with it once its last stream has ended.
    pub fn leave<H: Host>(&mut self, host: &H) {
        match self {
            Self::Placement(role) => role.leave(host),
            Self::Telemetry(role, _) => role.leave(host),
            Self::Observing(role, _) => role.leave(host),
        }
    }

    /// Another root of this VM ticks: this one may not any more, and what it counted is told.
    pub fn tell<H: Host>(&mut self, host: &H) {
        if let Self::Placement(role) = self {
            role.tell(host);
        }
    }

    /// A stream is gone.
    pub fn forget(&mut self, context: u32) {
        if let Self::Placement(role) = self {
            role.forget(context);
        }
    }
}

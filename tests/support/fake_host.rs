//! A host without a proxy: shared data with the compare-and-swap rules of Envoy, a clock that only the test moves,
//! and any status from any call. Clones are handles to the same VM; [`FakeHost::another_vm`] is another VM of the
//! same process, with the same shared data, clock and metrics.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its own part of this")]

use berth::filter::{Headers, Host, HostError, MapKind, MetricKind};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Every status that the ABI knows, and one that it does not.
pub const EVERY_ERROR: [HostError; 9] = [
    HostError::NotFound,
    HostError::BadArgument,
    HostError::Serialization,
    HostError::Parse,
    HostError::Empty,
    HostError::CasMismatch,
    HostError::Internal,
    HostError::Unimplemented,
    HostError::Unexpected(77),
];

/// A call that a role sent to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentCall {
    pub token: u32,
    pub cluster: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub timeout_ms: u32,
}

impl SentCall {
    /// The value of a header that was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// An answer that a role gave itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A metric as the proxy would show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub kind: MetricKind,
    pub name: String,
    /// The value of a counter or gauge; the last value of a histogram.
    pub value: i64,
    /// Everything that was recorded.
    pub records: Vec<u64>,
}

/// What all VMs of one process share.
#[derive(Debug)]
struct World {
    now_ns: u64,
    shared: BTreeMap<String, (Vec<u8>, u32)>,
    next_token: u32,
    metrics: Vec<Metric>,
}

/// How a call fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Once(HostError),
    Always(HostError),
}

/// What one VM has.
#[derive(Debug, Default)]
struct Vm {
    configuration: Vec<u8>,
    headers: HashMap<u32, Vec<(String, String)>>,
    request_body: Vec<u8>,
    call_body: Vec<u8>,
    properties: BTreeMap<String, Vec<u8>>,
    filter_state: BTreeMap<String, Vec<u8>>,
    responses: Vec<Response>,
    sent: Vec<SentCall>,
    tick_ms: Option<u32>,
    route_clears: u32,
    counts: BTreeMap<&'static str, u64>,
    faults: BTreeMap<String, Vec<Fault>>,
}

/// A VM of a proxy that is not there.
#[derive(Clone)]
pub struct FakeHost {
    world: Rc<RefCell<World>>,
    vm: Rc<RefCell<Vm>>,
    meddler: Rc<RefCell<Option<Meddler>>>,
    meddling: Rc<Cell<bool>>,
}

/// Somebody else, between two calls of ours.
type Meddler = Box<dyn FnMut(&FakeHost, &str, &str)>;

impl std::fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeHost").field("world", &self.world).field("vm", &self.vm).finish()
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A time at which tests begin: nothing special, and far from zero.
    pub const START_MS: u64 = 1_790_000_000_000;

    /// A VM of a new process.
    pub fn new() -> Self {
        let world =
            World { now_ns: Self::START_MS * 1_000_000, shared: BTreeMap::new(), next_token: 1, metrics: Vec::new() };
        Self::in_world(Rc::new(RefCell::new(world)))
    }

    /// Another VM of the same process: same shared data, clock and metrics; nothing else in common.
    pub fn another_vm(&self) -> Self {
        Self::in_world(self.world.clone())
    }

    fn in_world(world: Rc<RefCell<World>>) -> Self {
        Self { world, vm: Rc::default(), meddler: Rc::default(), meddling: Rc::default() }
    }

    // What the test sets.

    pub fn set_now_ms(&self, now_ms: u64) {
        self.world.borrow_mut().now_ns = now_ms * 1_000_000;
    }

    pub fn now_ms(&self) -> u64 {
        self.world.borrow().now_ns / 1_000_000
    }

    pub fn advance_ms(&self, by: u64) {
        self.world.borrow_mut().now_ns += by * 1_000_000;
    }

    pub fn set_configuration(&self, text: &str) {
        self.vm.borrow_mut().configuration = text.as_bytes().to_vec();
    }

    pub fn set_headers(&self, map: MapKind, pairs: &[(&str, &str)]) {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        self.vm.borrow_mut().headers.insert(map as u32, pairs);
    }

    pub fn set_request_body(&self, body: &[u8]) {
        self.vm.borrow_mut().request_body = body.to_vec();
    }

    pub fn set_property(&self, path: &[&str], value: &[u8]) {
        self.vm.borrow_mut().properties.insert(path.join("/"), value.to_vec());
    }

    /// Makes the answer of a call readable, as during the callback; gives the body's size, as the host would.
    pub fn answer(&self, headers: &[(&str, &str)], body: &[u8]) -> usize {
        self.set_headers(MapKind::CallHeaders, headers);
        self.vm.borrow_mut().call_body = body.to_vec();
        body.len()
    }

    /// The next call under this name (a method of [`Host`]) answers with `error`.
    pub fn fail_once(&self, call: &str, error: HostError) {
        self.vm.borrow_mut().faults.entry(call.to_string()).or_default().push(Fault::Once(error));
    }

    /// Every call under this name answers with `error`, until [`FakeHost::heal`].
    pub fn fail_always(&self, call: &str, error: HostError) {
        self.vm.borrow_mut().faults.entry(call.to_string()).or_default().push(Fault::Always(error));
    }

    /// Forgets every fault.
    pub fn heal(&self) {
        self.vm.borrow_mut().faults.clear();
    }

    /// Has `meddler(host, call, key)` run before each access to shared data of this VM: another thread that writes in between.
    pub fn meddle(&self, meddler: impl FnMut(&FakeHost, &str, &str) + 'static) {
        *self.meddler.borrow_mut() = Some(Box::new(meddler));
    }

    /// Takes the meddler away.
    pub fn leave_alone(&self) {
        *self.meddler.borrow_mut() = None;
    }

    /// Writes shared data past every rule: what a foreign or broken writer does.
    pub fn plant(&self, key: &str, value: &[u8]) {
        let mut world = self.world.borrow_mut();
        let token = world.take_token();
        world.shared.insert(key.to_string(), (value.to_vec(), token));
    }

    /// Removes shared data, as when the last VM of the id has gone.
    pub fn forget_shared(&self) {
        self.world.borrow_mut().shared.clear();
    }

    // What the test sees.

    pub fn shared(&self, key: &str) -> Option<Vec<u8>> {
        self.world.borrow().shared.get(key).map(|(value, _)| value.clone())
    }

    pub fn shared_keys(&self) -> Vec<String> {
        self.world.borrow().shared.keys().cloned().collect()
    }

    pub fn header(&self, map: MapKind, name: &str) -> Option<String> {
        let vm = self.vm.borrow();
        let pairs = vm.headers.get(&(map as u32))?;
        pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())
    }

    pub fn filter_state(&self, key: &str) -> Option<Vec<u8>> {
        self.vm.borrow().filter_state.get(key).cloned()
    }

    /// Something of a filter's state, as another filter would leave it.
    pub fn leave_filter_state(&self, key: &str, value: &[u8]) {
        self.vm.borrow_mut().filter_state.insert(key.to_string(), value.to_vec());
    }

    /// Another request: its filter state is empty.
    pub fn forget_filter_state(&self) {
        self.vm.borrow_mut().filter_state.clear();
    }

    pub fn responses(&self) -> Vec<Response> {
        self.vm.borrow().responses.clone()
    }

    /// All that lies in filter state.
    pub fn all_filter_state(&self) -> BTreeMap<String, Vec<u8>> {
        self.vm.borrow().filter_state.clone()
    }

    /// A whole header map, in its order.
    pub fn all_headers(&self, map: MapKind) -> Vec<(String, String)> {
        self.vm.borrow().headers.get(&(map as u32)).cloned().unwrap_or_default()
    }

    /// The answers given since the last time this was asked.
    pub fn take_responses(&self) -> Vec<Response> {
        std::mem::take(&mut self.vm.borrow_mut().responses)
    }

    pub fn calls(&self) -> Vec<SentCall> {
        self.vm.borrow().sent.clone()
    }

    /// The calls sent since the last time this was asked.
    pub fn take_calls(&self) -> Vec<SentCall> {
        std::mem::take(&mut self.vm.borrow_mut().sent)
    }

    pub fn tick_ms(&self) -> Option<u32> {
        self.vm.borrow().tick_ms
    }

    pub fn route_clears(&self) -> u32 {
        self.vm.borrow().route_clears
    }

    /// How often a method of [`Host`] was called in this VM.
    pub fn count(&self, call: &str) -> u64 {
        self.vm.borrow().counts.get(call).copied().unwrap_or(0)
    }

    /// All calls of this VM by name.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.vm.borrow().counts.clone()
    }

    /// Starts counting anew.
    pub fn reset_counts(&self) {
        self.vm.borrow_mut().counts.clear();
    }

    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.world.borrow().metrics.iter().find(|m| m.name == name).cloned()
    }

    /// A metric's value; 0 if nobody declared it.
    pub fn metric_value(&self, name: &str) -> i64 {
        self.metric(name).map_or(0, |m| m.value)
    }

    pub fn metric_names(&self) -> Vec<String> {
        self.world.borrow().metrics.iter().map(|m| m.name.clone()).collect()
    }

    /// All metrics, in the order in which they were declared.
    pub fn metrics(&self) -> Vec<Metric> {
        self.world.borrow().metrics.clone()
    }

    /// Counts the call and gives the fault that was ordered for it.
    fn enter(&self, call: &'static str) -> Result<(), HostError> {
        let mut vm = self.vm.borrow_mut();
        *vm.counts.entry(call).or_default() += 1;
        let Some(faults) = vm.faults.get_mut(call) else { return Ok(()) };
        match faults.first().copied() {
            Some(Fault::Once(error)) => {
                faults.remove(0);
                Err(error)
            }
            Some(Fault::Always(error)) => Err(error),
            None => Ok(()),
        }
    }

    fn let_others_run(&self, call: &str, key: &str) {
        if self.meddling.replace(true) {
            return;
        }
        if let Some(meddler) = self.meddler.borrow_mut().as_mut() {
            meddler(self, call, key);
        }
        self.meddling.set(false);
    }
}

impl World {
    /// One counter for all keys that never gives 0, as in the host.
    fn take_token(&mut self) -> u32 {
        let token = self.next_token;
        self.next_token = self.next_token.checked_add(1).unwrap_or(1);
        token
    }
}

fn part(body: &[u8], start: usize, most: usize) -> Result<Vec<u8>, HostError> {
    match body.get(start..) {
        Some(rest) if !body.is_empty() => Ok(rest.iter().take(most).copied().collect()),
        _ => Err(HostError::NotFound),
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
}

impl Host for FakeHost {
    fn now_ns(&self) -> u64 {
        if self.enter("now_ns").is_err() { 0 } else { self.world.borrow().now_ns }
    }

    fn plugin_configuration(&self) -> Result<Vec<u8>, HostError> {
        self.enter("plugin_configuration")?;
        Ok(self.vm.borrow().configuration.clone())
    }

    fn set_tick_ms(&self, period_ms: u32) -> Result<(), HostError> {
        self.enter("set_tick_ms")?;
        self.vm.borrow_mut().tick_ms = Some(period_ms);
        Ok(())
    }

    fn shared_get(&self, key: &str) -> Result<(Vec<u8>, u32), HostError> {
        self.enter("shared_get")?;
        self.let_others_run("shared_get", key);
        self.world.borrow().shared.get(key).cloned().ok_or(HostError::NotFound)
    }

    fn shared_set(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), HostError> {
        self.enter("shared_set")?;
        self.let_others_run("shared_set", key);
        let mut world = self.world.borrow_mut();
        let next = world.next_token;
        match (world.shared.get_mut(key), token) {
            (Some((_, current)), Some(token)) if token != 0 && token != *current => return Err(HostError::CasMismatch),
            (Some(slot), _) => *slot = (value.to_vec(), next),
            (None, _) => {
                world.shared.insert(key.to_string(), (value.to_vec(), next));
            }
        }
        world.take_token();
        Ok(())
    }

    fn call(&self, cluster: &str, headers: &[(&str, &str)], body: &[u8], timeout_ms: u32) -> Result<u32, HostError> {
        self.enter("call")?;
        let mut vm = self.vm.borrow_mut();
        let token = u32::try_from(vm.counts.get("call").copied().unwrap_or(0)).unwrap_or(u32::MAX);
        vm.sent.push(SentCall {
            token,
            cluster: cluster.to_string(),
            headers: owned(headers),
            body: body.to_vec(),
            timeout_ms,
        });
        Ok(token)
    }

    fn call_body(&self, start: usize, most: usize) -> Result<Vec<u8>, HostError> {
        self.enter("call_body")?;
        part(&self.vm.borrow().call_body, start, most)
    }

    fn headers(&self, map: MapKind) -> Result<Headers, HostError> {
        self.enter("headers")?;
        let vm = self.vm.borrow();
        let pairs = vm.headers.get(&(map as u32)).ok_or(HostError::BadArgument)?;
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        Ok(Headers::new(Headers::encode(&pairs)))
    }

    fn set_header(&self, map: MapKind, name: &str, value: &str) -> Result<(), HostError> {
        self.enter("set_header")?;
        let mut vm = self.vm.borrow_mut();
        let pairs = vm.headers.entry(map as u32).or_default();
        pairs.retain(|(k, _)| k != name);
        pairs.push((name.to_string(), value.to_string()));
        Ok(())
    }

    fn remove_header(&self, map: MapKind, name: &str) -> Result<(), HostError> {
        self.enter("remove_header")?;
        let mut vm = self.vm.borrow_mut();
        vm.headers.entry(map as u32).or_default().retain(|(k, _)| k != name);
        Ok(())
    }

    fn request_body(&self, start: usize, most: usize) -> Result<Vec<u8>, HostError> {
        self.enter("request_body")?;
        part(&self.vm.borrow().request_body, start, most)
    }

    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        self.enter("property")?;
        let vm = self.vm.borrow();
        // What a filter has left is a property of one name.
        let left = || vm.filter_state.get(path.join("/").as_str()).cloned();
        vm.properties.get(&path.join("/")).cloned().or_else(left).ok_or(HostError::NotFound)
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        self.enter("set_filter_state")?;
        self.vm.borrow_mut().filter_state.insert(key.to_string(), value.to_vec());
        Ok(())
    }

    fn turn_to(&self, _context: u32) -> Result<(), HostError> {
        self.enter("turn_to")
    }

    fn resume(&self) -> Result<(), HostError> {
        self.enter("resume")
    }

    fn respond_grpc(&self, status: u16, grpc: u8, headers: &[(&str, &str)], message: &str) -> Result<(), HostError> {
        let grpc = grpc.to_string();
        let mut headers = headers.to_vec();
        headers.push(("grpc-status", &grpc));
        self.respond(status, &headers, message.as_bytes())
    }

    fn respond(&self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<(), HostError> {
        self.enter("respond")?;
        self.vm.borrow_mut().responses.push(Response { status, headers: owned(headers), body: body.to_vec() });
        Ok(())
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError> {
        self.enter("define_metric")?;
        let mut world = self.world.borrow_mut();
        let at = world.metrics.iter().position(|m| m.name == name).unwrap_or_else(|| {
            world.metrics.push(Metric { kind, name: name.to_string(), value: 0, records: Vec::new() });
            world.metrics.len() - 1
        });
        Ok(u32::try_from(at).unwrap_or(u32::MAX))
    }

    fn increment(&self, metric: u32, by: i64) -> Result<(), HostError> {
        self.enter("increment")?;
        let mut world = self.world.borrow_mut();
        let metric = world.metrics.get_mut(metric as usize).ok_or(HostError::NotFound)?;
        metric.value += by;
        Ok(())
    }

    fn record(&self, metric: u32, value: u64) -> Result<(), HostError> {
        self.enter("record")?;
        let mut world = self.world.borrow_mut();
        let metric = world.metrics.get_mut(metric as usize).ok_or(HostError::NotFound)?;
        metric.value = i64::try_from(value).unwrap_or(i64::MAX);
        metric.records.push(value);
        Ok(())
    }
}

//! A proxy-wasm host that is not Envoy: runs the built modules in a WebAssembly engine against the same [`FakeHost`]
//! that the native tests use, so that both can be compared. It counts what is entered and called, meters the
//! instructions, and can answer any host call with anything.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails the test"
)]

mod imports;

pub(crate) use imports::{encode, gives_bytes};

use crate::fake_host::FakeHost;
use std::collections::BTreeMap;
use std::fmt;
use wasmi::{Config, Engine, Extern, Instance, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, Val};

/// The root context's id.
pub const ROOT: u32 = 1;
/// What one entry may cost: far above anything seen, far below for ever.
const FUEL: u64 = 20_000_000_000;
/// What a proxy gives a VM at most.
const MOST_MEMORY: usize = 1 << 30;

/// What a host call is answered with instead of the truth.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, and nothing is done.
    Status(u32),
    /// Success, and nothing is done or written.
    Nothing,
    /// Success, no data, and yet a length.
    Null(u32),
    /// Success with these bytes.
    Bytes(Vec<u8>),
    /// Success with the first so many hundredths of the true bytes.
    Part(usize),
}

/// A VM that cannot go on.
#[derive(Debug)]
pub struct Trapped(pub String);

impl fmt::Display for Trapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the imports see and do.
pub(crate) struct State {
    pub host: FakeHost,
    pub memory: Option<Memory>,
    pub answers: BTreeMap<String, Answer>,
    pub calls: BTreeMap<String, u64>,
    pub order: Vec<String>,
    pub entries: BTreeMap<String, u64>,
    pub upcalls: u64,
    pub log: Vec<(u32, String)>,
    /// Whose callback runs, the roots of streams, and what each root has left to be evaluated.
    pub entered: u32,
    pub parents: BTreeMap<u32, u32>,
    pub expressions: BTreeMap<u32, Vec<i64>>,
    limits: StoreLimits,
}

/// A built module, compiled once for any number of VMs.
pub struct Built {
    module: Module,
    linker: Linker<State>,
}

impl Built {
    /// `berth.wasm` or `berth-placement.wasm`.
    pub fn load(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `make wasm`", path.display()));
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, bytes).unwrap();
        let mut linker = Linker::new(&engine);
        imports::define(&mut linker, &module);
        Self { module, linker }
    }

    /// All host functions that the module imports from the proxy.
    pub fn imports(&self) -> Vec<String> {
        self.module.imports().filter(|i| i.module() == "env").map(|i| i.name().to_string()).collect()
    }

    /// A VM in the world of `host`, with its root context, not yet configured.
    pub fn vm(&self, host: &FakeHost) -> Result<Vm, Trapped> {
        let state = State {
            host: host.clone(),
            memory: None,
            answers: BTreeMap::new(),
            calls: BTreeMap::new(),
            order: Vec::new(),
            entries: BTreeMap::new(),
            upcalls: 0,
            log: Vec::new(),
            entered: 0,
            parents: BTreeMap::new(),
            expressions: BTreeMap::new(),
            limits: StoreLimitsBuilder::new().memory_size(MOST_MEMORY).build(),
        };
        let mut store = Store::new(self.linker.engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_fuel(FUEL).unwrap();
        let instance = self.linker.instantiate_and_start(&mut store, &self.module).expect("the module links");
        let Some(Extern::Memory(memory)) = instance.get_export(&store, "memory") else { panic!("no memory") };
        store.data_mut().memory = Some(memory);
        let mut vm = Vm { store, instance, next: ROOT + 1, spent: 0, burnt: 0 };
        vm.enter("_initialize", &[])?;
        vm.enter("proxy_on_context_create", &[ROOT, 0])?;
        vm.enter("proxy_on_vm_start", &[ROOT, 0])?;
        Ok(vm)
    }

    /// A configured VM; says whether it took its configuration.
    pub fn start(&self, host: &FakeHost, configuration: &str) -> Result<(Vm, bool), Trapped> {
        host.set_configuration(configuration);
        let mut vm = self.vm(host)?;
        let taken = vm.configure(configuration.len())?;
        Ok((vm, taken))
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// It went on.
    On,
    /// It stopped here: answered, or held for its body.
    Stopped,
}

/// One VM.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    next: u32,
    spent: u64,
    burnt: u64,
}

impl Vm {
    fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Enters the VM, if it exports this; gives its result.
    pub fn enter(&mut self, export: &str, arguments: &[u32]) -> Result<Option<u32>, Trapped> {
        self.state().entered = arguments.first().copied().unwrap_or(0);
        if let ("proxy_on_context_create", &[stream, root]) = (export, arguments)
            && root > 0
        {
            self.state().parents.insert(stream, root);
        }
        let Some(func) = self.instance.get_func(&self.store, export) else { return Ok(None) };
        *self.state().entries.entry(export.to_string()).or_default() += 1;
        let arguments: Vec<Val> = arguments.iter().map(|a| Val::I32(a.cast_signed())).collect();
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        self.store.set_fuel(FUEL).unwrap();
        let result = func.call(&mut self.store, &arguments, &mut results);
        self.spent = FUEL - self.store.get_fuel().unwrap();
        self.burnt += self.spent;
        match result {
            Ok(()) => Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned)),
            Err(error) => {
                let said: Vec<_> = self.state().log.iter().rev().take(2).map(|(_, line)| line.clone()).collect();
                Err(Trapped(format!("{export}{arguments:?}: {error}; last words: {said:?}")))
            }
        }
    }

    pub fn configure(&mut self, size: usize) -> Result<bool, Trapped> {
        let size = u32::try_from(size).unwrap();
        Ok(self.enter("proxy_on_configure", &[ROOT, size])? == Some(1))
    }

    pub fn tick(&mut self) -> Result<(), Trapped> {
        self.enter("proxy_on_tick", &[ROOT]).map(drop)
    }

    /// A new stream and its headers; gives its id.
    pub fn open(&mut self, ends: bool) -> Result<(u32, Went), Trapped> {
        let id = self.next;
        self.next += 1;
        self.enter("proxy_on_context_create", &[id, ROOT])?;
        let action = self.enter("proxy_on_request_headers", &[id, 0, u32::from(ends)])?;
        Ok((id, went(action)))
    }

    pub fn body(&mut self, id: u32, size: usize, ends: bool) -> Result<Went, Trapped> {
        let size = u32::try_from(size).unwrap();
        self.enter("proxy_on_request_body", &[id, size, u32::from(ends)]).map(went)
    }

    /// The end of a stream, as Envoy tells it.
    pub fn close(&mut self, id: u32) -> Result<(), Trapped> {
        self.enter("proxy_on_done", &[id])?;
        self.enter("proxy_on_log", &[id])?;
        self.enter("proxy_on_delete", &[id]).map(drop)
    }

    /// A whole stream with no body.
    pub fn request(&mut self) -> Result<Went, Trapped> {
        let (id, went) = self.open(true)?;
        let spent = self.spent;
        self.close(id)?;
        self.spent = spent;
        Ok(went)
    }

    /// The answer of a call.
    pub fn answered(&mut self, token: u32, body: usize) -> Result<(), Trapped> {
        let body = u32::try_from(body).unwrap();
        self.enter("proxy_on_http_call_response", &[ROOT, token, 1, body, 0]).map(drop)
    }

    /// From now on this import (`proxy_…`) is answered so.
    pub fn answer(&mut self, import: &str, answer: Answer) {
        self.state().answers.insert(import.to_string(), answer);
    }

    /// From now on all imports are answered truly.
    pub fn heal(&mut self) {
        self.state().answers.clear();
    }

    /// Forgets what was counted and logged.
    pub fn reset(&mut self) {
        let state = self.state();
        (state.calls, state.entries, state.upcalls) = (BTreeMap::new(), BTreeMap::new(), 0);
        state.order.clear();
        state.log.clear();
    }

    /// Host calls by name since the last reset.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.store.data().calls.clone()
    }

    /// Host calls in their order.
    pub fn order(&self) -> Vec<String> {
        self.store.data().order.clone()
    }

    /// Entries into the VM by export.
    pub fn entries(&self) -> BTreeMap<String, u64> {
        self.store.data().entries.clone()
    }

    /// Entries for the sake of memory, from within host calls.
    pub fn upcalls(&self) -> u64 {
        self.store.data().upcalls
    }

    pub fn log(&self) -> Vec<(u32, String)> {
        self.store.data().log.clone()
    }

    /// What the last entry cost, in the engine's fuel: about one for each instruction.
    pub const fn spent(&self) -> u64 {
        self.spent
    }

    /// What all entries so far have cost.
    pub const fn burnt(&self) -> u64 {
        self.burnt
    }

    /// Bytes of linear memory.
    pub fn memory(&self) -> usize {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store))
    }
}

fn went(action: Option<u32>) -> Went {
    if action.unwrap_or(0) == 0 { Went::On } else { Went::Stopped }
}

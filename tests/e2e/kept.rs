//! What is kept for a tenant, in a real Envoy: others are turned away where it begins, by both workers, and the tenant is
//! served until the whole is full, also where its work has a lower tier than theirs.

use crate::mesh::Mesh;
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, Seen};
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Script;
use crate::support::{RUN, eventually, everywhere};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// So many places, of which a quarter is kept.
const PLACES: usize = 16;
const COMMON: usize = 12;

/// Requests that are held where they were sent, and those that were answered.
struct Held {
    tasks: JoinSet<()>,
    answered: (UnboundedSender<Seen>, UnboundedReceiver<Seen>),
}

impl Held {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), answered: unbounded_channel() }
    }

    fn send(&mut self, ask: Ask) {
        let said = self.answered.0.clone();
        self.tasks.spawn(async move { drop(said.send(ask.send().await.unwrap())) });
    }

    /// Sends requests, one after the other, until so many are held; says how many were told no meanwhile.
    async fn send_until(&mut self, mesh: &Mesh, ask: &Ask, many: usize) -> usize {
        let mut told_no = 0;
        for _ in 0..50 * many {
            let before = mesh.metal.asked("/held");
            if before == many {
                break;
            }
            self.send(ask.clone());
            eventually("it is held or told no", || async {
                (mesh.metal.asked("/held") > before || !self.answered.1.is_empty()).then_some(())
            })
            .await;
            if let Ok(seen) = self.answered.1.try_recv() {
                assert_eq!(seen.status, 503, "{}", seen.text());
                told_no += 1;
            }
        }
        told_no
    }

    /// None has been answered: all are there.
    fn all_are_there(&mut self) {
        if let Ok(seen) = self.answered.1.try_recv() {
            panic!("{} {}", seen.status, seen.text());
        }
    }
}

fn ask(mesh: &Mesh, tenant: &str) -> Ask {
    work(mesh, tenant, "chat")
}

fn work(mesh: &Mesh, tenant: &str, work: &str) -> Ask {
    Ask::post(mesh.envoy.listener(INGRESS), "/held", "{}").header("x-tenant", tenant).header("x-workload", work)
}

/// Waits until both workers decide from a picture in which so many are under way. The probing tenant goes elsewhere.
async fn all_know_of(mesh: &Mesh, under_way: usize) {
    eventually("the picture has all of them", || async {
        let seen = Ask::get(mesh.envoy.listener("telemetry"), "/snapshot").send().await.unwrap();
        let picture: Value = serde_json::from_str(&seen.text()).unwrap_or_default();
        let all = picture["substrates"].as_array().cloned().unwrap_or_default();
        let metal = all.iter().find(|of| of["name"] == "metal-fr")?;
        (metal["signals"]["in_flight"]["value"] == under_way).then_some(())
    })
    .await;
    let published = mesh.envoy.stat("wasmcustom.berth.telemetry.epoch").await;
    everywhere("a picture with all of them is decided from", || async {
        let seen = ask(mesh, "initech").send().await.unwrap();
        assert_eq!(seen.text(), "onprem-de");
        let decision = seen.header("x-placement-decision").unwrap_or_default();
        let epoch = decision.split(", epoch=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        epoch.is_some_and(|epoch| epoch > published)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_are_kept_for_a_tenant_are_there_for_it_when_others_are_turned_away() {
    others_are_turned_away_and_it_is_not(json!({}), "chat").await;
}

/// Its standard work stops at twelve in flight, and so many are there of the others' critical work.
#[tokio::test(flavor = "multi_thread")]
async fn places_that_are_kept_for_a_tenant_are_there_for_it_where_work_of_a_higher_tier_has_filled_the_rest() {
    others_are_turned_away_and_it_is_not(json!({"critical": 0.25}), "standard").await;
}

async fn others_are_turned_away_and_it_is_not(keep_for: Value, its_work: &str) {
    let mut policy = policy();
    policy["substrates"][0]["capacity"] =
        json!({"concurrency": PLACES, "keep_for": keep_for, "keep_for_tenant": {"acme": 0.25}});
    (policy["headroom"], policy["adaptive"]) = (json!(0), json!({"latency": false, "risk": false}));
    policy["shedding"] = json!({"retry_after_s": 7});
    for class in [0, 1] {
        policy["classes"][class]["deadline_ms"] = json!(60_000);
    }
    let only = |name: &str, tenants: Value, substrate: &str| json!({"name": name, "applies_to": {"tenants": tenants}, "permit": {"substrates": [substrate]}, "spillover": "any"});
    policy["envelopes"] =
        json!([only("metal", json!(["acme", "globex"]), "metal-fr"), only("else", json!(["initech"]), "onprem-de")]);
    let mut telemetry = telemetry(&policy);
    telemetry["listener"] = json!({"read": "anyone"});
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |_, _| {}).await;
    everywhere("decisions are made from a live picture", || async {
        let seen = ask(&mesh, "initech").send().await.unwrap();
        seen.header("x-placement-decision").is_some_and(|decision| decision.contains("fresh=live"))
    })
    .await;
    // No answer of it has been seen: nobody expects that any of these is over before it is.
    mesh.metal.does_at("/held", Script::after(55_000, Script::ok("metal-fr")));

    let mut held = Held::new();
    for _ in 0..COMMON {
        held.send(ask(&mesh, "globex"));
    }
    let there = |many: usize| {
        let mesh = &mesh;
        async move {
            eventually("all are there", || async { (mesh.metal.asked("/held") == many).then_some(()) }).await;
            all_know_of(mesh, many).await;
        }
    };
    let turned_away = |tenant: &'static str, by: &'static str| {
        let mesh = &mesh;
        async move {
            for _ in 0..RUN {
                let seen = ask(mesh, tenant).send().await.unwrap();
                assert_eq!((seen.status, seen.header("retry-after")), (503, Some("7")), "{by}: {}", seen.text());
                assert!(seen.text().contains(r#""reason":"availability/headroom""#), "{}", seen.text());
                assert!(!seen.text().contains("acme"), "{}", seen.text());
            }
        }
    };
    there(COMMON).await;
    turned_away("globex", "what is kept for another").await;
    held.all_are_there();
    assert_eq!(mesh.metal.asked("/held"), COMMON, "nobody took what is kept");
    let told_no = held.send_until(&mesh, &work(&mesh, "acme", its_work), PLACES).await;
    // What is beyond the limit of its tier is its own alone, and each worker gives it an even part of that.
    assert!(its_work == "standard" || told_no == 0, "{told_no} told no");
    there(PLACES).await;
    turned_away("acme", "the whole").await;
    held.all_are_there();
    assert_eq!(mesh.metal.asked("/held"), PLACES);
}

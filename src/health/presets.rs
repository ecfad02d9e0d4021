//! What the usual servers and exporters call things. Names that changed between releases stand there under both.

use super::prometheus::{Aggregate, Mapping, Per, Selector};
use crate::model::Signal;

/// The names of all presets.
pub const PRESETS: [&str; 6] = ["vllm", "sglang", "tgi", "triton", "dcgm", "node"];

/// The mappings of a preset; `None` if there is none of that name.
#[must_use]
pub fn preset(name: &str) -> Option<Vec<Mapping>> {
    Some(match name {
        "vllm" => vec![
            sum(Signal::QueueDepth, "vllm:num_requests_waiting"),
            sum(Signal::Running, "vllm:num_requests_running"),
            most(Signal::MemoryPressure, "vllm:gpu_cache_usage_perc"),
            most(Signal::MemoryPressure, "vllm:kv_cache_usage_perc"),
            mean(Signal::FirstToken, "vllm:time_to_first_token_seconds"),
            mean(Signal::PerToken, "vllm:time_per_output_token_seconds"),
            mean(Signal::PerToken, "vllm:inter_token_latency_seconds"),
            mean(Signal::Total, "vllm:e2e_request_latency_seconds"),
        ],
        "sglang" => vec![
            sum(Signal::QueueDepth, "sglang:num_queue_reqs"),
            sum(Signal::Running, "sglang:num_running_reqs"),
            most(Signal::MemoryPressure, "sglang:token_usage"),
            mean(Signal::FirstToken, "sglang:time_to_first_token_seconds"),
            mean(Signal::PerToken, "sglang:time_per_output_token_seconds"),
            mean(Signal::PerToken, "sglang:inter_token_latency_seconds"),
            mean(Signal::Total, "sglang:e2e_request_latency_seconds"),
        ],
        "tgi" => vec![
            sum(Signal::QueueDepth, "tgi_queue_size"),
            sum(Signal::Running, "tgi_batch_current_size"),
            mean(Signal::PerToken, "tgi_request_mean_time_per_token_duration"),
            mean(Signal::Total, "tgi_request_duration"),
        ],
        "triton" => vec![
            sum(Signal::QueueDepth, "nv_inference_pending_request_count"),
            ratio(Signal::MemoryPressure, "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"),
            mean_of(Signal::CpuUse, "nv_cpu_utilization"),
            mean_of(Signal::AcceleratorUse, "nv_gpu_utilization"),
            left(ratio(Signal::PowerHeadroom, "nv_gpu_power_usage", "nv_gpu_power_limit")),
            // Microseconds, where the base unit is the second.
            Mapping {
                increase: true,
                scale_micro: 1,
                ..ratio(Signal::Total, "nv_inference_request_duration_us", "nv_inference_request_success")
            },
        ],
        "dcgm" => vec![
            Mapping {
                per: Some(Per::With(Selector::all("DCGM_FI_DEV_FB_FREE"))),
                ..sum(Signal::MemoryPressure, "DCGM_FI_DEV_FB_USED")
            },
            // Percent.
            Mapping { scale_micro: 10_000, ..mean_of(Signal::AcceleratorUse, "DCGM_FI_DEV_GPU_UTIL") },
            left(ratio(Signal::PowerHeadroom, "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_MGMT_LIMIT")),
            left(ratio(Signal::CoolingHeadroom, "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_SLOWDOWN_TEMP")),
        ],
        "node" => vec![
            // Of the processors' time since the last scrape, what they did not idle: waiting for a disk is no rest.
            Mapping {
                of: Selector {
                    labels: vec![(String::from("mode"), String::from("idle"))],
                    ..Selector::all("node_cpu_seconds_total")
                },
                increase: true,
                ..left(ratio(Signal::CpuUse, "node_cpu_seconds_total", "node_cpu_seconds_total"))
            },
            left(ratio(Signal::MemoryPressure, "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes")),
            // Percent. An edge node's battery is its power headroom.
            Mapping {
                aggregate: Aggregate::Min,
                scale_micro: 10_000,
                ..sum(Signal::PowerHeadroom, "node_power_supply_capacity")
            },
        ],
        _ => return None,
    })
}

fn sum(signal: Signal, metric: &str) -> Mapping {
    Mapping::new(signal, metric)
}

fn most(signal: Signal, metric: &str) -> Mapping {
    Mapping { aggregate: Aggregate::Max, ..sum(signal, metric) }
}

fn mean_of(signal: Signal, metric: &str) -> Mapping {
    Mapping { aggregate: Aggregate::Mean, ..sum(signal, metric) }
}

fn ratio(signal: Signal, of: &str, per: &str) -> Mapping {
    Mapping { per: Some(Per::Of(Selector::all(per))), ..sum(signal, of) }
}

fn left(mapping: Mapping) -> Mapping {
    Mapping { rest: true, ..mapping }
}

/// The mean over what a histogram has counted since the last scrape.
fn mean(signal: Signal, histogram: &str) -> Mapping {
    let (of, per) = ([histogram, "_sum"].concat(), [histogram, "_count"].concat());
    Mapping { increase: true, ..ratio(signal, &of, &per) }
}

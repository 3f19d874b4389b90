//! Figures of the process, by the names that Prometheus' own clients give them.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::writer;

static START: OnceLock<f64> = OnceLock::new();

/// Notes when the process began to count.
pub(super) fn begin() {
    START.get_or_init(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    });
}

/// The figure of that name. Without `/proc` there is no resident memory and no number of open files.
pub(super) fn figure(name: &str) -> Option<f64> {
    match name {
        "process_cpu_seconds_total" => Some(cpu_seconds()),
        "process_resident_memory_bytes" => resident_bytes(),
        "process_open_fds" => open_files(),
        "process_max_fds" => max_files(),
        "jobs_gateway_log_lines_lost_total" => Some(writer::lines_lost()),
        "process_start_time_seconds" => START.get().copied(),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// `VmRSS` of proc(5), which is in KiB.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn open_files() -> Option<f64> {
    // One of them is the folder that is read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn max_files() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|limit| limit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_this_process() {
        begin();
        let (files, start) =
            (figure("process_open_fds").unwrap(), figure("process_start_time_seconds").unwrap());
        let opened: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(figure("process_open_fds").unwrap() >= files + 10.0, "{}", opened.len());
        assert!(figure("process_max_fds").unwrap() > files);
        assert!(start > 1.7e9);
        let memory = figure("process_resident_memory_bytes").unwrap();
        assert!((1e6..1e11).contains(&memory), "{memory}");
        let cpu = figure("process_cpu_seconds_total").unwrap();
        let mut sum = 0_u64;
        while figure("process_cpu_seconds_total").unwrap() < cpu + 0.01 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert_eq!(figure("process_other"), None);
    }
}

//! Streams as they are in the world: through a proxy that closes what is silent, and to a caller that is gone without a
//! word. Seconds are real here, so that none of these runs each time.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::write::GzDecoder;
use jobs_gateway::sandbox::{Job, Sandbox, SandboxOptions, State};
use serde_json::json;
use standardwebhooks::Webhook;
use tokio::net::TcpStream;

use super::sockets::Socket;
use super::streams::{FOLLOW, SSE};
use crate::support::process::{Process, free_address, prepare};
use crate::support::{WEBHOOK_SECRET, key};
use crate::webhooks::{CONFIG, older};

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway, and a job of acme's that runs.
struct Place {
    sandbox: Sandbox,
    process: Process,
    webhooks: SocketAddr,
    http: reqwest::Client,
    job: String,
    folder: tempfile::TempDir,
}

impl Place {
    /// `listen` is the host that the gateway listens on.
    async fn start(listen: &str) -> Self {
        // Nothing changes by itself.
        let options = SandboxOptions { step: Duration::from_hours(1000), ..Default::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let (folder, webhooks) = (tempfile::tempdir().unwrap(), free_address());
        let config = CONFIG.replace("127.0.0.1:0", &webhooks.to_string());
        let addresses = prepare(folder.path(), &sandbox, &config);
        let file = folder.path().join("gateway.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let own = format!("{listen}:{}", addresses.0.port());
        std::fs::write(&file, text.replace(&addresses.0.to_string(), &own)).unwrap();
        let environment = [("MOVE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
        let process =
            Process::start_with(folder.path(), addresses, &environment, Stdio::inherit()).await;
        let metadata = "{\"acme\":{},\"_gateway\":{\"v\":1,\"owner\":\"acme\"}}".to_owned();
        let job = Job {
            metadata: Some(metadata),
            pinned: Some(State::Running),
            ..Job::new(sandbox.now())
        };
        sandbox.add_job(job.clone());
        let http = reqwest::Client::new();
        Self { sandbox, process, webhooks, http, job: job.id, folder }
    }

    /// Ends the job, and has Move say so.
    async fn finish(&self) {
        self.sandbox.set_state(&self.job, State::Finished);
        let (at, body) = (self.sandbox.now().as_second(), older("completed", &self.job));
        let signature = Webhook::new(WEBHOOK_SECRET).unwrap().sign("msg", at, &body).unwrap();
        let request = self.http.post(format!("http://{}/webhooks/move/shared", self.webhooks));
        let request = request.header("svix-id", "msg").header("svix-timestamp", at);
        let sent = request.header("svix-signature", signature).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 204);
    }

    async fn streams(&self) -> String {
        let url = format!("http://{}/metrics", self.process.admin);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("jobs_gateway_streams "));
        count.unwrap_or("0").to_owned()
    }
}

/// nginx in front of a gateway, with Debian's package as it is but for the times of its proxy and what it compresses.
fn nginx(place: &Place) -> (Ended, SocketAddr) {
    let (listen, folder) = (free_address(), place.folder.path().display());
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            gzip on; gzip_proxied any; gzip_types *; gzip_min_length 0;
            map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            server {{
                listen {listen};
                location / {{
                    proxy_pass http://{};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_read_timeout 15s; proxy_send_timeout 15s;
                }}
            }}
        }}",
        place.process.address
    );
    let file = place.folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let nginx = Command::new("nginx").arg("-c").arg(file).spawn();
    let nginx = nginx.unwrap_or_else(|error| panic!("nginx (apt-get install nginx): {error}"));
    (Ended(nginx), listen)
}

/// A stream that is read as it comes, inflated if it was deflated on the way.
struct Read {
    response: reqwest::Response,
    inflated: GzDecoder<Vec<u8>>,
    is_deflated: bool,
}

impl Read {
    async fn open(place: &Place, proxy: SocketAddr, accept: &str) -> Self {
        let request = place.http.post(format!("http://{proxy}/graphql"));
        let request = request.header("authorization", key("acme")).header("accept", accept);
        let body = json!({"query": FOLLOW, "variables": {"id": place.job}});
        let response = request.header("accept-encoding", "gzip").json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let is_deflated = response.headers().contains_key("content-encoding");
        Self { response, inflated: GzDecoder::new(Vec::new()), is_deflated }
    }

    /// Reads until it says something; returns all that came by then.
    async fn until(&mut self, word: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(self.inflated.get_ref()).into_owned();
            if text.contains(word) {
                return text;
            }
            let more = self.response.chunk().await.unwrap();
            let more = more.unwrap_or_else(|| panic!("it ended: {text}"));
            if self.is_deflated {
                self.inflated.write_all(&more).unwrap();
                self.inflated.flush().unwrap();
            } else {
                self.inflated.get_mut().extend_from_slice(&more);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and needs nginx: apt-get install nginx"]
async fn streams_outlive_a_minute_of_silence_behind_nginx() {
    const APOLLO: &str = "multipart/mixed;subscriptionSpec=1.0,application/json";
    let place = Place::start("127.0.0.1").await;
    let (_nginx, proxy) = nginx(&place);
    while TcpStream::connect(proxy).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut events = Read::open(&place, proxy, SSE).await;
    let mut parts = Read::open(&place, proxy, APOLLO).await;
    let mut socket =
        Socket::acknowledged_over(TcpStream::connect(proxy).await.unwrap(), "acme").await;
    socket.subscribe("1", FOLLOW, &place.job).await;
    for stream in [&mut events, &mut parts] {
        stream.until("RUNNING").await;
    }
    assert_eq!(socket.hear().await["payload"]["data"]["jobUpdated"]["state"], "RUNNING");
    let finished = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        place.finish().await;
        Instant::now()
    };
    let ends =
        async { tokio::join!(events.until("complete"), parts.until("--graphql--"), socket.hear()) };
    let (since, (events_text, parts_text, last)) = tokio::join!(finished, ends);
    println!("all three were told {:?} after the event", since.elapsed());
    for (text, is_deflated) in
        [(&events_text, events.is_deflated), (&parts_text, parts.is_deflated)]
    {
        println!("deflated by nginx: {is_deflated}; {} bytes", text.len());
        assert!(text.contains("FINISHED"), "{text}");
    }
    assert!(events_text.matches("\n:\n").count() >= 5, "{events_text}");
    assert!(parts_text.matches("\r\n{}\r\n").count() >= 5, "{parts_text}");
    assert_eq!(last["payload"]["data"]["jobUpdated"]["state"], "FINISHED");
}

/// Runs `ip`; this needs root.
fn ip(words: &str) {
    let ran = Command::new("ip").args(words.split(' ')).status();
    assert!(ran.unwrap().success(), "ip {words} (as root, apt-get install iproute2)");
}

/// Another host of this machine's own, behind a cable.
struct Host;

impl Host {
    const NAME: &str = "jobs-gateway-test";
    const OWN: &str = "10.213.7.1";

    fn start() -> Self {
        // One may be left of a run that was killed.
        let _ = Command::new("ip").args(["netns", "delete", Self::NAME]).output();
        let _ = Command::new("ip").args(["link", "delete", "jgw-here"]).output();
        ip(&format!("netns add {}", Self::NAME));
        let host = Self;
        ip(&format!("link add jgw-here type veth peer name jgw-there netns {}", Self::NAME));
        ip(&format!("addr add {}/30 dev jgw-here", Self::OWN));
        ip("link set jgw-here up");
        ip(&format!("-n {} addr add 10.213.7.2/30 dev jgw-there", Self::NAME));
        ip(&format!("-n {} link set jgw-there up", Self::NAME));
        host
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip("link delete jgw-here");
        ip(&format!("netns delete {}", Self::NAME));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and needs root: it makes a host of its own and pulls its cable"]
async fn a_stream_to_a_host_that_is_gone_without_a_word_ends() {
    let place = Place::start("0.0.0.0").await;
    let host = Host::start();
    let url = format!("http://{}:{}/graphql", Host::OWN, place.process.address.port());
    let body = json!({"query": FOLLOW, "variables": {"id": place.job}}).to_string();
    let mut curl = Command::new("ip");
    curl.args([
        "netns",
        "exec",
        Host::NAME,
        "curl",
        "--silent",
        "--no-buffer",
        "--max-time",
        "300",
    ]);
    curl.args(["-H", "content-type: application/json", "-H", &format!("accept: {SSE}")]);
    curl.args(["-H", &format!("authorization: {}", key("acme")), "-d", &body, &url]);
    let _curl = Ended(curl.stdout(Stdio::null()).spawn().unwrap());
    let give_up = Instant::now() + Duration::from_secs(20);
    while place.streams().await != "1" {
        assert!(Instant::now() < give_up, "the stream does not open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ip(&format!("-n {} link set jgw-there down", Host::NAME));
    let cut = Instant::now();
    while place.streams().await != "0" {
        assert!(cut.elapsed() < Duration::from_mins(2), "it is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("it ended {:?} after the cable was pulled", cut.elapsed());
    drop(host);
}

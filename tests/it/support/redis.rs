//! A real redis-server on a free port of this machine.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A Redis that ends with this value.
pub struct Redis {
    port: u16,
    server: Option<Child>,
    /// More words for its command line.
    options: Vec<String>,
    /// The folder in which it keeps what it must keep.
    folder: TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    fn start_with(options: Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut redis = Self { port: free_port(), server: None, options, folder };
        redis.restart();
        redis
    }

    /// A Redis Cluster of one node.
    pub async fn start_cluster() -> Self {
        let bus = free_port().to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let redis = Self::start_with(options.map(str::to_owned).to_vec());
        let () = redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
        redis.until(&["CLUSTER", "INFO"], "cluster_state:ok").await;
        redis
    }

    /// Makes it a replica of another one, or a master.
    pub async fn replicate(&self, master: Option<&Self>) {
        match master {
            Some(master) => {
                let port = master.port.to_string();
                let () = self.command(&["REPLICAOF", "127.0.0.1", &port]).await;
                self.until(&["INFO", "replication"], "master_link_status:up").await;
            }
            None => self.command(&["REPLICAOF", "NO", "ONE"]).await,
        }
    }

    /// Waits until it says something.
    async fn until(&self, command: &[&str], word: &str) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !self.command::<String>(command).await.contains(word) {
            assert!(Instant::now() < give_up, "redis-server does not say {word}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The lines for gateway.yaml that make a gateway share it.
    pub fn config(&self) -> String {
        format!("shared_state: {{ redis: '{}' }}\ncursor_key: ${{CURSOR_KEY}}\n", self.url())
    }

    /// Starts the server, with what it was last told to save, and waits until it takes connections.
    pub fn restart(&mut self) {
        let server = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server (scripts/test installs it): {error}"));
        self.server = Some(server);
        let give_up = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < give_up, "redis-server does not start");
            std::thread::yield_now();
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Stops the process without ending it: connections stay open and nothing answers.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let pid = self.server.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Sends a command and gives what came back.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address behind which the server changes, as a load balancer or a virtual IP has it. Connections
/// that were made before a change stay where they are.
pub struct Door {
    port: u16,
    target: Arc<AtomicU16>,
    connections: Arc<AtomicUsize>,
    /// The time by which answers come late, in milliseconds.
    delay: Arc<AtomicU64>,
}

/// Lets bytes through, each as late as answers are when it comes.
async fn pass_on(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Arc<AtomicU64>,
) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            if let Some(due) = due {
                tokio::time::sleep_until(due).await;
            }
            let bytes: Vec<u8> = bytes;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    let reading = async move {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let late = Duration::from_millis(delay.load(Ordering::SeqCst));
            // A timer is a millisecond late, or more on a busy machine.
            let due = (!late.is_zero()).then(|| tokio::time::Instant::now() + late);
            let _ = sender.send((due, buffer[..count].to_vec()));
        }
    };
    tokio::join!(writing, reading);
}

impl Door {
    pub async fn open(redis: &Redis) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, connections) =
            (Arc::new(AtomicU16::new(redis.port)), Arc::<AtomicUsize>::default());
        let delay = Arc::<AtomicU64>::default();
        let door = Self {
            port,
            target: Arc::clone(&target),
            connections: Arc::clone(&connections),
            delay: Arc::clone(&delay),
        };
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let port = target.load(Ordering::SeqCst);
                let delay = Arc::clone(&delay);
                tokio::spawn(async move {
                    let server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
                    let Ok(server) = server else { return };
                    for stream in [&caller, &server] {
                        let _ = stream.set_nodelay(true);
                    }
                    let (asked, answers) = caller.into_split();
                    let (answered, asks) = server.into_split();
                    tokio::join!(
                        pass_on(asked, asks, Arc::default()),
                        pass_on(answered, answers, delay)
                    );
                });
            }
        });
        door
    }

    /// The lines for gateway.yaml that make a gateway go through it.
    pub fn config(&self) -> String {
        let url = format!("redis://127.0.0.1:{}", self.port);
        format!("shared_state: {{ redis: '{url}' }}\ncursor_key: ${{CURSOR_KEY}}\n")
    }

    /// Lets who comes from now on to another server.
    pub fn lead_to(&self, redis: &Redis) {
        self.target.store(redis.port, Ordering::SeqCst);
    }

    /// Makes answers come so late from now on.
    pub fn slow_down(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap();
        self.delay.store(millis, Ordering::SeqCst);
    }

    /// Returns the number of those that came so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

//! MachineOptions that are real process trees on this computer.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::addresses::Addresses;
use super::machine::{Order, Running, Site, pause};
use super::{Entrance, Host, Machine, MetadataSource, ProbeError, ProbeFuture, probe, roots};
use crate::sandbox::engine::Engine;

/// Terminated machines whose console is kept: EC2 keeps it for about an hour, and a failed deploy wants it.
const CONSOLES_KEPT: usize = 200;

/// How long all machines together may take to end.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);

/// What machines that are real processes need to know.
#[derive(Debug)]
pub struct MachineOptions {
    /// Folder for root folders. MachineOptions of an earlier sandbox in it are ended and removed.
    pub home: PathBuf,
    /// Folder of the `adstage` program that machines run.
    pub programs: PathBuf,
    /// The environment machines start with; whatever leads to a real AWS account is to be left out.
    pub environment: Vec<(OsString, OsString)>,
}

/// The host of one sandbox.
pub(in crate::sandbox) struct Processes {
    site: Arc<Site>,
    addresses: Arc<Addresses>,
    machines: Mutex<Machines>,
    images: Arc<Mutex<HashMap<String, Copied>>>,
    source: OnceLock<Weak<dyn MetadataSource>>,
}

/// How far an image's copy is: `None` while it goes on.
type Copied = Option<Result<(), String>>;

#[derive(Default)]
struct Machines {
    by_id: HashMap<String, (IpAddr, Running)>,
    terminated: Vec<String>,
}

/// A sandbox's id is made from its folder: a later one in the same folder recognises what an earlier one left running.
fn site_id(home: &std::path::Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(home.as_os_str().as_encoded_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn site(settings: MachineOptions) -> io::Result<Site> {
    std::fs::create_dir_all(&settings.home)?;
    let home = settings.home.canonicalize()?;
    Ok(Site { id: site_id(&home), home, programs: settings.programs, environment: settings.environment })
}

/// Ends every process and removes every root folder that a sandbox in this folder left, however it ended. Only for who knows that none
/// is running.
pub(in crate::sandbox) async fn sweep(home: PathBuf) -> io::Result<()> {
    let site = site(MachineOptions { home, programs: PathBuf::new(), environment: Vec::new() })?;
    clean(&site, Duration::ZERO).await
}

async fn clean(site: &Site, grace: Duration) -> io::Result<()> {
    site.marked("").end(grace).await?;
    let folders = [site.home.join("machines"), site.home.join("images")];
    tokio::task::spawn_blocking(move || folders.iter().try_for_each(|folder| roots::remove(folder))).await.map_err(io::Error::other)?
}

impl Processes {
    /// A host in a clean folder. Must be called, like everything after it, inside a tokio runtime.
    pub async fn open(settings: MachineOptions) -> io::Result<Self> {
        let site = site(settings)?;
        clean(&site, Duration::ZERO).await?;
        let addresses = Arc::new(Addresses::claim()?);
        Ok(Self { site: Arc::new(site), addresses, machines: Mutex::default(), images: Arc::default(), source: OnceLock::new() })
    }

    /// What every process's marker starts with.
    pub fn id(&self) -> &str {
        &self.site.id
    }

    /// Ends every machine and removes every folder.
    pub async fn close(&self) -> io::Result<()> {
        let waiting: Vec<_> = {
            let machines = self.machines();
            machines.by_id.values().map(|(_, running)| running.order(Order::Close)).for_each(drop);
            machines.by_id.values().map(|(_, running)| running.wait_off()).collect()
        };
        let all_off = async {
            for off in waiting {
                off.await;
            }
        };
        // Whoever is late is killed with the rest.
        let _ = tokio::time::timeout(CLOSED_WITHIN, all_off).await;
        clean(&self.site, Duration::ZERO).await
    }

    fn machines(&self) -> MutexGuard<'_, Machines> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, id: &str, order: Order) {
        if let Some((_, running)) = self.machines().by_id.get(id) {
            running.order(order);
        }
    }
}

impl Processes {
    fn copy_root(&self, from: PathBuf, image: &str) {
        let to = self.site.image(image);
        let (images, image) = (self.images.clone(), image.to_string());
        images.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone(), None);
        tokio::task::spawn_blocking(move || {
            let copied = roots::copy(&from, &to).map_err(|error| error.to_string());
            images.lock().unwrap_or_else(PoisonError::into_inner).insert(image, Some(copied));
        });
    }
}

impl Host for Processes {
    fn attach(&self, engine: Weak<Engine>) {
        let _ = self.source.set(engine);
    }

    fn real(&self) -> bool {
        true
    }

    fn address(&self) -> IpAddr {
        self.addresses.take()
    }

    fn seed_image(&self, image: &str) {
        let made = roots::make_base(&self.site.image(image)).map_err(|error| error.to_string());
        self.images.lock().unwrap_or_else(PoisonError::into_inner).insert(image.to_string(), Some(made));
    }

    fn start(&self, machine: Machine) {
        let nobody: Weak<dyn MetadataSource> = Weak::<Nobody>::new();
        let source = self.source.get().cloned().unwrap_or(nobody);
        let (addresses, address, id) = (self.addresses.clone(), machine.address, machine.id.clone());
        let running = Running::start(self.site.clone(), machine, source, move || addresses.give_back(address));
        self.machines().by_id.insert(id, (address, running));
    }

    fn stop(&self, id: &str) {
        self.order(id, Order::Stop);
    }

    fn terminate(&self, id: &str) {
        self.order(id, Order::Terminate);
        let mut machines = self.machines();
        machines.terminated.retain(|other| other != id);
        machines.terminated.push(id.to_string());
        if machines.terminated.len() > CONSOLES_KEPT {
            let oldest = machines.terminated.remove(0);
            machines.by_id.remove(&oldest);
        }
    }

    fn running(&self, id: &str) -> bool {
        self.machines().by_id.get(id).is_some_and(|(_, running)| running.is_on())
    }

    fn console(&self, id: &str) -> Vec<u8> {
        self.machines().by_id.get(id).map(|(_, running)| running.console()).unwrap_or_default()
    }

    fn copy_image(&self, from: &str, to: &str) {
        self.copy_root(self.site.image(from), to);
    }

    fn capture(&self, id: &str, image: &str) {
        self.copy_root(self.site.machine(id).join("root"), image);
    }

    fn captured(&self, image: &str) -> Option<Result<(), String>> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(image).cloned().unwrap_or_else(|| Some(Err("there is no such image".into())))
    }

    fn delete_image(&self, image: &str) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
        let folder = self.site.image(image);
        tokio::task::spawn_blocking(move || roots::remove(&folder));
    }

    fn worked(&self) -> BTreeMap<String, Duration> {
        self.site.marked("").worked()
    }

    fn pid(&self, id: &str) -> Option<u32> {
        self.machines().by_id.get(id).and_then(|(_, running)| running.pid())
    }

    fn entrance(&self, id: &str) -> Option<Entrance> {
        self.machines().by_id.get(id).and_then(|(_, running)| running.entrance())
    }

    fn probe(&self, id: &str, port: u16, path: &str, timeout: Duration) -> ProbeFuture {
        let target =
            self.machines().by_id.get(id).filter(|(_, running)| running.is_on()).map(|(address, _)| SocketAddr::new(*address, port));
        let path = path.to_string();
        Box::pin(async move {
            match target {
                Some(target) => probe::get(target, path, timeout).await,
                // Nothing answers at the address of a machine that is off, not even a refusal.
                None => {
                    pause(timeout).await;
                    Err(ProbeError::Timeout)
                }
            }
        })
    }
}

/// Stands where no engine is.
struct Nobody;

impl MetadataSource for Nobody {
    fn metadata(&self, _instance: &str) -> Option<super::Metadata> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Known {
        tags: AtomicBool,
    }

    impl MetadataSource for Known {
        fn metadata(&self, instance: &str) -> Option<super::super::Metadata> {
            let tags =
                self.tags.load(Ordering::Relaxed).then(|| BTreeMap::from([("adstage:services".to_string(), "web worker".to_string())]));
            (instance == "i-1").then(|| super::super::Metadata { availability_zone: "eu-central-1a".into(), tags, ..Default::default() })
        }
    }

    struct Stand {
        host: Processes,
        engine: Arc<Known>,
        _home: tempfile::TempDir,
    }

    async fn stand() -> Stand {
        let home = tempfile::tempdir().unwrap();
        let path = std::env::join_paths(["/usr/local/bin", "/usr/bin", "/bin"]).unwrap();
        let settings =
            MachineOptions { home: home.path().join("sandbox"), programs: "/nowhere".into(), environment: vec![("PATH".into(), path)] };
        let host = Processes::open(settings).await.unwrap();
        let engine = Arc::new(Known { tags: AtomicBool::new(true) });
        let source: Arc<dyn MetadataSource> = engine.clone();
        host.source.set(Arc::downgrade(&source)).unwrap_or_else(|_| panic!());
        host.seed_image("ami-1");
        Stand { host, engine, _home: home }
    }

    impl Stand {
        fn start(&self, image: &str, user_data: &str, first_boot: bool) {
            let address = self.host.address();
            self.host.start(Machine {
                id: "i-1".into(),
                account: "111122223333".into(),
                region: "eu-central-1".into(),
                image: image.into(),
                address,
                user_data: user_data.into(),
                tags: None,
                first_boot,
            });
        }

        fn console(&self) -> String {
            String::from_utf8_lossy(&self.host.console("i-1")).into_owned()
        }

        async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
            for _ in 0..400 {
                if holds(self) {
                    return;
                }
                pause(Duration::from_millis(25)).await;
            }
            panic!("never: {what}; console:\n{}", self.console());
        }

        fn alive(&self) -> usize {
            self.host.site.marked("").alive().len()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_machine_lives_is_captured_and_leaves_nothing() {
        let stand = stand().await;
        stand.start("ami-1", "#!/bin/sh\necho hello $0; echo kept >\"$ADSTAGE_ROOT/opt/kept\"; setsid sleep 300 & sleep 300\n", true);
        stand.until("said hello", |s| s.console().contains("hello ")).await;
        stand.until("three processes", |s| s.alive() == 3).await;
        assert!(stand.host.running("i-1") && stand.host.pid("i-1").is_some());

        stand.host.stop("i-1");
        stand.until("off", |s| !s.host.running("i-1")).await;
        assert_eq!(stand.alive(), 0);
        stand.host.capture("i-1", "ami-2");
        stand.until("captured", |s| s.host.captured("ami-2").is_some()).await;
        assert_eq!(stand.host.captured("ami-2"), Some(Ok(())));

        stand.start("ami-1", "#!/bin/sh\necho again\n", false);
        stand.until("on", |s| s.host.running("i-1")).await;
        assert!(!stand.console().contains("again"), "user data runs once");
        stand.host.terminate("i-1");
        stand.until("gone", |s| !s.host.site.machine("i-1").exists()).await;
        assert!(stand.console().contains("hello"), "the console outlives the machine");

        stand.start("ami-2", "#!/bin/sh\ncat \"$ADSTAGE_ROOT/opt/kept\"; shutdown -h now; sleep 300\n", true);
        stand.until("powered off by itself", |s| !s.host.running("i-1")).await;
        assert!(stand.console().starts_with("kept\n"), "{}", stand.console());
        stand.host.close().await.unwrap();
        assert!(!stand.host.site.home.join("machines").exists() && !stand.host.site.home.join("images").exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_killed_sandbox_left_is_swept_by_the_next() {
        let stand = stand().await;
        stand.start("ami-1", "#!/bin/sh\ntrap '' TERM\nwhile true; do sleep 1; done\n", true);
        stand.until("alive", |s| s.alive() > 0).await;
        sweep(stand.host.site.home.clone()).await.unwrap();
        assert_eq!(stand.alive(), 0);
        assert!(!stand.host.site.home.join("machines").exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn metadata_wants_a_token_and_follows_the_engine() {
        let stand = stand().await;
        stand.start("ami-1", "#!/bin/sh\necho imds=$AWS_EC2_METADATA_SERVICE_ENDPOINT\nsleep 300\n", true);
        stand.until("imds", |s| s.console().contains("imds=http://127.")).await;
        let console = stand.console();
        let endpoint = console.trim().trim_start_matches("imds=http://").to_string();
        let ask = |method: &'static str, path: &'static str, headers: Vec<(&'static str, String)>| {
            let endpoint = endpoint.clone();
            async move { raw(&endpoint, method, path, &headers).await }
        };
        let ttl = ("X-aws-ec2-metadata-token-ttl-seconds", "60".to_string());
        assert_eq!(ask("GET", "/latest/meta-data/instance-id", vec![]).await.0, 401);
        assert_eq!(ask("GET", "/latest/meta-data/instance-id", vec![("X-aws-ec2-metadata-token", "made-up".into())]).await.0, 401);
        assert_eq!(ask("PUT", "/latest/api/token", vec![]).await.0, 400);
        assert_eq!(ask("PUT", "/latest/api/token", vec![ttl.clone(), ("X-Forwarded-For", "1.2.3.4".into())]).await.0, 403);
        let (status, token) = ask("PUT", "/latest/api/token", vec![ttl]).await;
        assert_eq!(status, 200);
        let get = |path| ask("GET", path, vec![("X-aws-ec2-metadata-token", token.clone())]);
        assert_eq!(get("/latest/meta-data/instance-id").await, (200, "i-1".into()));
        assert_eq!(get("/latest/meta-data/placement/availability-zone").await, (200, "eu-central-1a".into()));
        assert_eq!(get("/latest/meta-data/tags/instance").await, (200, "adstage:services".into()));
        assert_eq!(get("/latest/meta-data/tags/instance/adstage:services").await, (200, "web worker".into()));
        assert_eq!(get("/latest/meta-data/tags/instance/adstage%3Aservices").await.0, 200);
        assert!(get("/latest/user-data").await.1.starts_with("#!/bin/sh"));
        assert!(get("/latest/dynamic/instance-identity/document").await.1.contains("\"accountId\":\"111122223333\""));
        stand.engine.tags.store(false, Ordering::Relaxed);
        assert_eq!(get("/latest/meta-data/tags/instance").await.0, 404);
        stand.host.close().await.unwrap();
    }

    async fn raw(endpoint: &str, method: &str, path: &str, headers: &[(&str, String)]) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(endpoint).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: imds\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_string())
    }
}

//! A real nginx before a cluster, with the settings of `deploy/ingress/nginx.sh`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::world::World;
use crate::app::certificate::Certificate;
use crate::app::lasting_port;

/// `session.max_message_bytes` of these nodes.
pub(crate) const MOST: usize = 65_536;
/// The address that the proxy speaks from, which the nodes trust.
pub(crate) const PROXY: &str = "127.0.0.2";
pub(crate) const TRUSTED: (&str, &str) = ("TRUSTED_PROXIES", "[\"127.0.0.2/32\"]");

/// An nginx of the test's own. Dropped, it is gone, with its workers.
pub(crate) struct Nginx {
    process: Child,
    folder: TempDir,
    pub(crate) address: String,
    tls: Option<Certificate>,
}

impl Nginx {
    pub(crate) async fn start(nodes: &[String], tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", lasting_port());
        let tls = tls.then(|| Certificate::make(folder.path()));
        configure(folder.path(), &address, nodes, tls.as_ref());
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let process = Command::new(program.expect("nginx: tests/setup.sh installs it"))
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-g", "daemon off; pid nginx.pid; error_log error.log warn;"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { process, folder, address, tls };
        let deadline = Instant::now() + Duration::from_secs(10);
        while nginx.client().get(nginx.url("api/v1/openapi.json")).send().await.is_err() {
            assert!(Instant::now() < deadline, "nginx does not serve: {}", nginx.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        nginx
    }

    /// Another list of nodes, without a connection lost.
    pub(crate) fn reload(&self, nodes: &[String]) {
        configure(self.folder.path(), &self.address, nodes, self.tls.as_ref());
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}/{path}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// A client that takes the test's own certificate.
    pub(crate) fn client(&self) -> reqwest::Client {
        reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master takes the workers with it, which a killed one would not.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

fn configure(folder: &Path, address: &str, nodes: &[String], tls: Option<&Certificate>) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/ingress/nginx.sh");
    let mut command = Command::new(script);
    command.args(["--listen", address, "--workers", "1", "--max-message-bytes", &MOST.to_string()]);
    if let Some(Certificate { certificate, key, .. }) = tls {
        command.arg("--certificate").arg(certificate).arg("--key").arg(key);
    }
    let made = command.args(nodes).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Clients are on this machine too: by its address a node can tell the proxy from them.
    let text =
        String::from_utf8(made.stdout).unwrap().replace("proxy_pass ", &format!("proxy_bind {PROXY}; proxy_pass "));
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
}

/// Where the nodes that run listen.
pub(crate) fn addresses(world: &World) -> Vec<String> {
    world.servers().map(|server| server.address.clone()).collect()
}

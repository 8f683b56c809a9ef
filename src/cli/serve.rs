//! `parlor serve`: the server, from its settings to its last word.

use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer, rt};
use anyhow::Context as _;
use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use socket2::{Domain, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::actors::node::{Node, Startup};
use crate::clock::Clock;
use crate::config::LogFormat;
use crate::config::{self, Config};
use crate::pipeline::stages::Catalogue;
use crate::telemetry::{Spans, Telemetry};
use crate::{http, metrics, telemetry};

/// Connections that may wait to be taken: a storm of reconnecting clients must not be met with silence.
const BACKLOG: i32 = 4096;
/// Sockets at once for each worker; the limit on open files usually comes first.
const MAX_CONNECTIONS: usize = 200_000;
/// Bytes that the kernel keeps for a client that reads slowly; the rest of the bound is ours (`session.outgoing_bytes`).
const SEND_BUFFER: usize = 128 * 1024;
/// A peer that acknowledges nothing for this long is gone, even if it never said so.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the metrics are tidied up.
const UPKEEP: Duration = Duration::from_secs(5);
/// Seconds in which a request's head must have come.
const REQUEST_HEAD: Duration = Duration::from_secs(10);
/// How long a connection may do nothing between two requests. Longer than the 60 s for which proxies commonly keep theirs
/// (nginx, and the ingresses made of it): who closes first must be the one who sends, else now and then a request is on its way
/// into a connection that has just been closed. Stopping does not wait for it.
const IDLE: Duration = Duration::from_secs(75);

/// How to serve.
#[derive(Debug, Args)]
#[command(after_help = "Every setting is also a key of the file and an environment variable:\n  \
    listen = \"0.0.0.0:8080\"          PARLOR_LISTEN=0.0.0.0:8080\n  \
    [session]\n  \
    max_message_bytes = 65536        PARLOR_SESSION__MAX_MESSAGE_BYTES=65536\n\n\
    A flag wins over the environment, and that over the file. PARLOR_LOG=debug logs more.\n\
    All settings: docs/operations.md; a file with all of them: parlor.example.toml\n\n\
    Example:\n  parlor serve --data /var/lib/parlor --listen 0.0.0.0:8080")]
pub struct ServeArgs {
    /// The folder that holds everything [default: parlor-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where sockets and HTTP are served; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where /healthz, /readyz and /metrics are served [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR:PORT")]
    internal_listen: Option<SocketAddr>,
    /// What this node does: gateway (sockets and HTTP), outgoing, incoming, auto-reply, router [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    stages: Option<Vec<String>>,
    /// Threads that serve sockets [default: one for each processor]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// A settings file
    #[arg(long, value_name = "FILE", env = "PARLOR_CONFIG")]
    config: Option<PathBuf>,
}

impl ServeArgs {
    fn flags(&self) -> Value {
        let mut flags = Map::new();
        let mut set = |key: &str, value: Option<Value>| value.map(|value| flags.insert(key.to_owned(), value));
        set("data", self.data.as_ref().map(|path| json!(path)));
        set("listen", self.listen.map(|address| json!(address)));
        set("internal_listen", self.internal_listen.map(|address| json!(address)));
        set("stages", self.stages.as_ref().map(|names| json!(names)));
        set("workers", self.workers.map(|n| json!(n)));
        Value::Object(flags)
    }
}

/// Serves until told to stop.
///
/// # Errors
/// What keeps the server from starting, before anything is bound; or what ended it.
pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref(), args.flags())?;
    let telemetry = watch(&config)?;
    for name in config::unknown_variables() {
        tracing::warn!(name, "this variable is no setting and is ignored");
    }
    let recorder = metrics::install();
    if let Some(recorder) = recorder.clone() {
        // Histograms gather what was recorded until somebody asks for it; nobody may ever ask.
        rt::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                recorder.run_upkeep();
            }
        });
    }
    let server = config.clone();
    // From here on: who asks during the start is heard when it is over.
    let mut stop_signals = StopSignals::listen()?;
    // Taken before the folder is touched, opened when there is somebody to answer.
    let public_socket = take("listen", server.listen)?;
    let internal_socket = take("internal_listen", server.internal_listen)?;
    let startup = Startup::default();
    let (internal_address, internal) = serve_internal(internal_socket, &server, &startup, recorder)?;

    let (catalogue, waits) = (Catalogue::standard(), config.is_cluster());
    let node = tokio::select! {
        node = Node::start(config, &catalogue, Clock::system(), &startup) => node?,
        // A node alone starts in a moment; one of many may wait for others for long.
        () = stop_signals.next(), if waits => return Ok(()),
    };
    let handle = node.handle();
    let (address, public) = serve_public(public_socket, &server, &node)?;
    say(&format!("parlor ready: http://{address} (internal http://{internal_address})"));

    let outcome = tokio::select! {
        () = stop_signals.next() => Ok(()),
        () = handle.asked_to_stop() => Ok(()),
        reason = handle.failed() => Err(anyhow::anyhow!("stopping at once, nothing accepted is lost: {reason}")),
    };
    stop(node, public, internal, outcome.is_ok(), &mut stop_signals).await;
    if let Some(telemetry) = telemetry {
        telemetry.finish().await;
    }
    outcome
}

/// Health and metrics: there from the start, for a node may wait long for others.
fn serve_internal(
    socket: Socket,
    server: &Config,
    startup: &Startup,
    recorder: Option<PrometheusHandle>,
) -> anyhow::Result<(String, ServerHandle)> {
    let (startup, recorder) = (Data::new(startup.clone()), Data::new(recorder));
    let internal = HttpServer::new(move || {
        App::new().app_data(startup.clone()).app_data(recorder.clone()).configure(http::internal::routes)
    })
    .workers(1)
    .disable_signals()
    .listen(open(socket).with_context(|| format!("internal_listen: cannot serve on {}", server.internal_listen))?)?;
    let address = first(internal.addrs());
    let running = internal.run();
    let handle = running.handle();
    rt::spawn(running);
    Ok((address, handle))
}

/// Sockets and HTTP.
fn serve_public(socket: Socket, server: &Config, node: &Node) -> anyhow::Result<(String, ServerHandle)> {
    let (state, deps, handle) = (Data::new(node.http_state()), Data::from(node.session_deps()), node.handle());
    let (handle, max_request) = (Data::new(handle), server.session.max_frame_bytes());
    let public = HttpServer::new(move || {
        App::new().app_data(state.clone()).app_data(deps.clone()).app_data(handle.clone()).configure(http::api(
            max_request,
            &deps.options.allowed_origins,
            deps.busy.clone(),
        ))
    });
    let workers = if server.workers == 0 { std::thread::available_parallelism()?.get() } else { server.workers };
    let public = public
        .workers(workers)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(REQUEST_HEAD)
        .keep_alive(IDLE)
        .disable_signals()
        .listen(open(socket).with_context(|| format!("listen: cannot serve on {}", server.listen))?)?;
    let address = first(public.addrs());
    let running = public.run();
    let handle = running.handle();
    rt::spawn(running);
    Ok((address, handle))
}

/// In order: no new connections, drain, then the files. A node among others answers requests to the end: what its ingress
/// still sends here must not hang.
async fn stop(node: Node, public: ServerHandle, internal: ServerHandle, drain: bool, stop_signals: &mut StopSignals) {
    if !node.is_one_of_many() {
        public.pause().await;
    }
    if drain {
        tokio::select! {
            () = node.drain() => {}
            () = stop_signals.next() => tracing::warn!("told twice: stopping at once"),
        }
    }
    public.stop(false).await;
    internal.stop(false).await;
    node.close().await;
    tracing::info!("stopped");
}

/// The signals that ask a process to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Takes an address, or says that somebody has it. Connections are refused until [`open`].
fn take(key: &str, address: SocketAddr) -> anyhow::Result<Socket> {
    let taking = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // Connections inherit what the socket that takes them is set to.
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        socket.bind(&address.into())?;
        Ok::<_, std::io::Error>(socket)
    };
    taking().with_context(|| format!("{key}: cannot serve on {address}"))
}

fn open(socket: Socket) -> std::io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn first(addresses: Vec<SocketAddr>) -> String {
    addresses.first().map(ToString::to_string).unwrap_or_default()
}

/// The one line on standard output: whoever started us waits for it.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listening is no reason to stop.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The log on standard error and, where there is a collector, what sends spans to it.
fn watch(config: &Config) -> anyhow::Result<Option<Telemetry>> {
    // What a client does against RFC 6455 is no error of ours; it is counted by its close code.
    let filter = tracing_subscriber::EnvFilter::try_from_env("PARLOR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,actix_server=warn,actix_http::ws=off"));
    let logs = tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let logs = match config.log_format {
        LogFormat::Text => logs.boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    let to = config.telemetry.traces().map_err(anyhow::Error::msg)?;
    let (spans, telemetry) = to.map(|to| telemetry::start(to, Clock::system())).transpose()?.unzip();
    // A second server in one process (tests) keeps the first one's log.
    let _ = tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans.map(Spans::layer)).try_init();
    Ok(telemetry)
}

//! The server: its socket, its threads, its end.
//!
//! Opened before anything else runs, so that a port that is taken is found at once. Invariant: nothing of it runs on an
//! arbiter of the engine, and it ends with the process, after the answers that are on their way.

use super::access::Token;
use super::desk::{Desk, Facts, Permits, Reply};
use super::{metrics, query, status};
use crate::kafka::Fault;
use crate::process;
use actix_web::dev::ServerHandle;
use actix_web::http::KeepAlive;
use actix_web::rt::System;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tidemill_topology::Http;

const WORKERS: usize = 2;
/// Questions at a time, asked here; and as many again that peers pass on.
const QUESTIONS: usize = 8;
/// Connections of one worker.
const CONNECTIONS: usize = 256;
/// A request's head must have come whole by then.
const REQUEST: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(15);
/// What answers on their way have at the end, in seconds.
const GRACE: u64 = 2;

/// A socket that is ours, and nobody answers yet.
pub struct Bound {
    listener: TcpListener,
    http: Http,
    token: Option<Token>,
}

/// The server at work.
pub struct Serving {
    handle: ServerHandle,
    over: Mutex<Receiver<()>>,
}

impl Bound {
    /// # Errors
    /// The port is taken, or there is no token where there must be one.
    pub fn open(http: &Http) -> Result<Bound, Fault> {
        let token = http.token_file.as_deref().map(Token::read).transpose()?;
        let listener = TcpListener::bind(http.listen).map_err(|e| {
            Fault::configuration(format!(
                "http.listen {}: {e}; name an address of this machine and a free port",
                http.listen
            ))
        })?;
        Ok(Bound { listener, http: http.clone(), token })
    }

    /// # Errors
    /// No thread.
    pub fn serve(self, facts: Facts) -> Result<Serving, Fault> {
        let (started, handle) = channel();
        let (ending, over) = channel();
        let run = move || {
            let ran = System::new().block_on(self.run(facts, &started));
            drop(ending);
            if let Err(e) = ran {
                process::exit(&format!("the HTTP server ended: {e}"), false);
            }
        };
        let failed = |e: &dyn std::fmt::Display| Fault::failed(format!("the HTTP server does not start: {e}"));
        std::thread::Builder::new().name("http".into()).spawn(run).map_err(|e| failed(&e))?;
        let handle = handle.recv().map_err(|e| failed(&e))?;
        Ok(Serving { handle, over: Mutex::new(over) })
    }

    async fn run(self, facts: Facts, started: &Sender<ServerHandle>) -> std::io::Result<()> {
        let Bound { listener, http, token } = self;
        let (asked, passed_on) = (Permits::new(QUESTIONS), Permits::new(QUESTIONS));
        let desk = web::Data::new(Desk { facts, http, token, asked, passed_on });
        tracing::info!(listen = %desk.http.listen, "answering queries");
        let server = HttpServer::new(move || App::new().app_data(desk.clone()).configure(routes))
            .workers(WORKERS)
            .worker_max_blocking_threads(2 * QUESTIONS + 2)
            .max_connections(CONNECTIONS)
            .client_request_timeout(REQUEST)
            .keep_alive(KeepAlive::Timeout(IDLE))
            .shutdown_timeout(GRACE)
            .disable_signals()
            .listen(listener)?
            .run();
        drop(started.send(server.handle()));
        server.await
    }
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/query/{step}", web::get().to(query::ask))
        .route("/status", web::get().to(status::status))
        .route("/metrics", web::get().to(metrics::scrape))
        .route("/live", web::get().to(status::live))
        .route("/ready", web::get().to(status::ready))
        .default_service(web::to(elsewhere));
}

async fn elsewhere(request: HttpRequest) -> HttpResponse {
    let known = "GET /query/STEP, /status, /metrics, /ready and /live";
    Reply::refusal(404, "unknown", format!("nothing answers to {}; known are {known}", request.method())).into()
}

impl Serving {
    /// No new questions; returns at once.
    pub fn stop(&self) {
        drop(self.handle.stop(true));
    }

    /// Waits until the last answer is out, a moment at most. Blocks.
    pub fn ended(&self) {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        _ = over.recv_timeout(Duration::from_secs(GRACE + 1));
    }
}

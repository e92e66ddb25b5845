//! `/metrics`: the text of a scrape; and a server of nothing else, for a process that answers no questions.
//!
//! Called by the server and by the simulator. Invariant: a scrape asks nobody and waits for nothing; it wants no token, for
//! nothing of a record stands in it.

use super::desk::Desk;
use crate::kafka::Fault;
use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

/// Prometheus's text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn scrape(desk: web::Data<Desk>) -> HttpResponse {
    answer(desk.facts.metrics.text())
}

fn answer(text: String) -> HttpResponse {
    HttpResponse::Ok().content_type(FORMAT).insert_header(("cache-control", "no-store")).body(text)
}

type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers `/metrics` on loopback for as long as the process lives.
///
/// # Errors
/// The port is taken, or there is no thread.
pub fn serve_metrics(port: u16, text: impl Fn() -> String + Send + Sync + 'static) -> Result<(), Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|e| Fault::configuration(format!("port {port} for metrics: {e}; name a free one")))?;
    let text = web::Data::from(Arc::new(Arc::new(text) as Text));
    let route = || web::get().to(|text: web::Data<Text>| async move { answer(text()) });
    let run = move || {
        let server = HttpServer::new(move || App::new().app_data(text.clone()).route("/metrics", route()));
        let served =
            System::new().block_on(async { server.workers(1).disable_signals().listen(listener)?.run().await });
        if let Err(error) = served {
            tracing::warn!(%error, "metrics are served no more");
        }
    };
    let named = std::thread::Builder::new().name("metrics".into());
    named.spawn(run).map(drop).map_err(|e| Fault::failed(format!("no thread for metrics: {e}")))
}

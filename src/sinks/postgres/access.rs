//! From a topology's `postgres:` to the client's settings: server, user, secrets, TLS.
//!
//! Called at every connection, so that a secret's file may change. Knows files and OpenSSL.
//! Invariant: no error that leaves here holds a secret.

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_topology::sinks::{Password, PostgresSpec, Server, SslMode, Tls};
use tokio_postgres::Config;

/// Everything that opening a connection needs.
pub struct Access {
    pub config: Config,
    pub tls: MakeTlsConnector,
}

/// # Errors
/// A file that cannot be read, a URL that is none, a certificate that is none.
pub fn access(spec: &PostgresSpec, name: &str) -> Result<Access, String> {
    let (mut config, tls) = server(spec)?;
    config.application_name(name);
    config.connect_timeout(spec.timeouts.connect);
    // A cut line is noticed while nothing is being sent, and while something is.
    config.keepalives(true).keepalives_idle(Duration::from_secs(10));
    config.keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
    config.tcp_user_timeout(spec.timeouts.statement);
    let mode = tls.mode.unwrap_or(SslMode::Prefer);
    config.ssl_mode(match mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    Ok(Access { config, tls: connector(mode, &tls)? })
}

fn server(spec: &PostgresSpec) -> Result<(Config, Tls), String> {
    let given = spec.access.tls.clone();
    match &spec.access.server {
        Server::Url(url) => of_url(url.reveal(), given),
        Server::UrlFile(path) => of_url(&secret(path)?, given),
        Server::Parts { host, port, dbname, user, password } => {
            let mut config = Config::new();
            config.host(host).port(*port).dbname(dbname).user(user);
            match password {
                None => {}
                Some(Password::Given(secret)) => drop(config.password(secret.reveal())),
                Some(Password::File(path)) => drop(config.password(secret(path)?)),
            }
            Ok((config, given))
        }
    }
}

/// The one line of a file that holds a secret.
fn secret(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|e| format!("{}: {e}; check the file and its rights", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty; write the secret into it", path.display())),
        line if line.contains('\n') => {
            Err(format!("{} has more than one line; leave the secret alone in it", path.display()))
        }
        line => Ok(line.to_owned()),
    }
}

/// The client knows fewer modes of TLS than libpq, and no certificates: both are taken out of the URL.
fn of_url(url: &str, given: Tls) -> Result<(Config, Tls), String> {
    let (server, query) = url.split_once('?').unwrap_or((url, ""));
    let mut tls = given;
    let mut rest = Vec::new();
    let (mut certificate, mut key) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("sslmode", mode) => {
                let known = SslMode::from_name(mode).ok_or("the URL's sslmode is none that libpq knows")?;
                tls.mode = tls.mode.or(Some(known));
            }
            ("sslrootcert", path) => tls.root = tls.root.or(Some(path.into())),
            ("sslcert", path) => certificate = Some(PathBuf::from(path)),
            ("sslkey", path) => key = Some(PathBuf::from(path)),
            _ => rest.push(pair),
        }
    }
    tls.own = tls.own.or(certificate.zip(key));
    let url = if rest.is_empty() { server.to_owned() } else { format!("{server}?{}", rest.join("&")) };
    // What the parser says may repeat the text.
    let config = url.parse::<Config>();
    let config =
        config.map_err(|_| "the URL is none of PostgreSQL's; write postgres://USER:PASSWORD@HOST:PORT/DBNAME")?;
    Ok((config, tls))
}

fn connector(mode: SslMode, tls: &Tls) -> Result<MakeTlsConnector, String> {
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("TLS: {what}: {e}");
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|e| failed("OpenSSL", &e))?;
    if let Some(root) = &tls.root {
        builder.set_ca_file(root).map_err(|e| failed(&format!("sslrootcert {}", root.display()), &e))?;
    }
    if let Some((certificate, key)) = &tls.own {
        let place = format!("sslcert {}, sslkey {}", certificate.display(), key.display());
        builder.set_certificate_chain_file(certificate).map_err(|e| failed(&place, &e))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(|e| failed(&place, &e))?;
    }
    // As libpq: with a root certificate `require` checks against it.
    let verified = match mode {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Require => tls.root.is_some(),
        SslMode::Disable | SslMode::Prefer => false,
    };
    builder.set_verify(if verified { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    let mut connector = MakeTlsConnector::new(builder.build());
    connector.set_callback(move |handshake, _| {
        handshake.set_verify_hostname(mode == SslMode::VerifyFull);
        Ok(())
    });
    Ok(connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::Host;

    #[test]
    fn a_url_gives_up_what_the_client_does_not_know() {
        let url = "postgres://u:p@db.example:6432/d?sslmode=verify-full&connect_timeout=3&sslrootcert=ca.pem";
        let (config, tls) = of_url(url, Tls::default()).expect("a good URL");
        assert_eq!((config.get_user(), config.get_dbname(), config.get_ports()), (Some("u"), Some("d"), &[6432][..]));
        assert_eq!(config.get_hosts(), [Host::Tcp("db.example".to_owned())]);
        assert_eq!((tls.mode, tls.root), (Some(SslMode::VerifyFull), Some("ca.pem".into())));
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_text() {
        for wrong in ["secret", "postgres://u:secret@h:port/d", "postgres://u:secret@h/d?sslmode=secret"] {
            let error = of_url(wrong, Tls::default()).expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        for (text, found) in [("a b\n", Ok("a b".to_owned())), ("", Err(())), ("a\nb", Err(()))] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(secret(&path).map_err(|e| assert!(!e.contains("a\nb"))), found);
        }
        assert!(secret(&folder.path().join("none")).is_err());
    }
}

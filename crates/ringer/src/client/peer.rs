//! A running machine's control socket, from outside.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::control::routes::CONSOLE_PROTOCOL;
use crate::control::{Action, Answer, Refused};

/// The most bytes of an answer.
const LONGEST_ANSWER: usize = 16 << 20;

/// Why a machine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It said so.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// It did not answer, or nothing that makes sense.
    #[error("the machine does not answer: {0}")]
    Silent(String),
}

fn silent(why: impl std::fmt::Display) -> PeerError {
    PeerError::Silent(why.to_string())
}

/// A machine's control socket.
#[derive(Clone, Debug)]
pub struct Peer {
    socket: PathBuf,
}

/// A machine's console.
pub struct ConsoleStream {
    /// Both directions.
    pub stream: TokioIo<hyper::upgrade::Upgraded>,
    /// Keys reach the guest.
    pub takes_keys: bool,
}

impl Peer {
    /// The machine with this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Does something; waits for as long as it takes.
    pub async fn act(&self, action: &Action) -> Result<Answer, PeerError> {
        let body = serde_json::to_vec(action).map_err(silent)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri("/actions")
            .body(Full::new(Bytes::from(body)))
            .map_err(silent)?;
        let response = self.send(request).await?;
        let ok = response.status() == StatusCode::OK;
        let body = read(response).await?;
        if ok {
            serde_json::from_slice(&body).map_err(silent)
        } else {
            Err(refusal(&body))
        }
    }

    /// As [`Peer::act`], but for no longer than this.
    pub async fn act_within(
        &self,
        patience: Duration,
        action: &Action,
    ) -> Result<Answer, PeerError> {
        timeout(patience, self.act(action))
            .await
            .unwrap_or_else(|_| Err(silent("it takes too long")))
    }

    /// Whether the guest has said that it is ready.
    pub async fn is_ready(&self) -> Result<bool, PeerError> {
        let request = Request::get("/healthz").body(Full::default());
        let response = self.send(request.map_err(silent)?).await?;
        Ok(response.status() == StatusCode::OK)
    }

    /// Attaches to the console.
    pub async fn console(&self) -> Result<ConsoleStream, PeerError> {
        let request = Request::get("/console")
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, CONSOLE_PROTOCOL)
            .body(Full::default())
            .map_err(silent)?;
        let mut response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(&read(response).await?));
        }
        let keys = response.headers().get("ringer-keys");
        let takes_keys = keys.is_some_and(|keys| keys == "yes");
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(silent)?;
        Ok(ConsoleStream {
            stream: TokioIo::new(upgraded),
            takes_keys,
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, PeerError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(silent)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(silent)?;
        // Ends with the connection; what went wrong with it the sender is told.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(silent)
    }
}

async fn read(response: Response<Incoming>) -> Result<Bytes, PeerError> {
    let body = Limited::new(response.into_body(), LONGEST_ANSWER);
    Ok(body.collect().await.map_err(silent)?.to_bytes())
}

fn refusal(body: &[u8]) -> PeerError {
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => refused.into(),
        Err(error) => silent(error),
    }
}

//! What the control socket answers over HTTP, and the OpenAPI description of it.

use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use utoipa::{OpenApi, ToSchema};

use super::Request;
use super::action::Action;
use super::answer::{Answer, Refused};
use super::attach::Attachable;
use super::patient::Patient;
use crate::run::Event;

/// The most bytes of an action.
pub const LONGEST_ACTION: usize = 64 << 10;
/// How long a peer may take to send one.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most peers on the console at once.
const MOST_ATTACHED: usize = 16;
/// What a peer on the console upgrades its connection to.
pub const CONSOLE_PROTOCOL: &str = "ringer-console";

/// How many more peers may attach; a machine has one control socket, and a process one machine.
static ATTACHED: Semaphore = Semaphore::const_new(MOST_ATTACHED);

/// Waits until nobody is attached any more.
pub async fn all_have_left() {
    let _ = ATTACHED.acquire_many(MOST_ATTACHED as u32).await;
}

/// What requests are answered from.
#[derive(Clone)]
pub struct Routes {
    /// Whoever acts on the machine.
    pub events: Sender<Event>,
    /// The guest's console.
    pub console: Attachable,
}

/// Whether the guest has said that it is ready.
#[derive(Serialize, ToSchema)]
struct Health {
    ready: bool,
}

/// Serde does not read this file's comments; this text heads the document.
const DESCRIPTION: &str = "Control of one running virtual machine, over HTTP on a Unix socket. \
    Everything that can be asked is one type, Action; docs/CONTROL.md explains it.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringer", description = DESCRIPTION),
    paths(act, health, console, document)
)]
struct Api;

/// The description of what the socket answers, as JSON.
pub fn openapi() -> String {
    Api::openapi().to_pretty_json().unwrap_or_default()
}

/// The whole socket.
pub fn router(routes: Routes) -> Router {
    Router::new()
        .route("/actions", post(act))
        .route("/healthz", get(health))
        .route("/console", get(console))
        .route("/openapi.json", get(document))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(routes)
}

fn refuse(status: StatusCode, why: impl std::fmt::Display) -> Response {
    (status, Json(Refused::because(why))).into_response()
}

/// Does something with the machine, or looks at it.
#[utoipa::path(
    post,
    path = "/actions",
    request_body = Action,
    responses(
        (status = 200, description = "It was done", body = Answer),
        (status = 400, description = "This is no action", body = Refused),
        (status = 408, description = "The action did not come in time", body = Refused),
        (status = 409, description = "It cannot be done now", body = Refused),
        (status = 413, description = "The action is too long", body = Refused),
        (status = 503, description = "The machine has ended", body = Refused)
    )
)]
async fn act(State(routes): State<Routes>, request: HttpRequest) -> Response {
    let body = to_bytes(request.into_body(), LONGEST_ACTION);
    let bytes = match timeout(PATIENCE, body).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, error),
        Err(_) => {
            return refuse(
                StatusCode::REQUEST_TIMEOUT,
                "the action did not come in time",
            );
        }
    };
    let action: Action = match serde_json::from_slice(&bytes) {
        Ok(action) => action,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    let (sender, reply) = oneshot::channel();
    let reply_to = Box::new(|reply| drop(sender.send(reply)));
    // If nobody hears it, `reply` says so.
    let _ = routes
        .events
        .send(Event::Asked(Request { action, reply_to }));
    match reply.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(refused)) => (StatusCode::CONFLICT, Json(refused)).into_response(),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the machine has ended"),
    }
}

/// Whether the guest is ready.
#[utoipa::path(
    get,
    path = "/healthz",
    responses(
        (status = 200, description = "The guest has said that it is ready", body = Health),
        (status = 503, description = "It has not yet", body = Health)
    )
)]
async fn health(State(routes): State<Routes>) -> Response {
    let ready = routes.console.console.history().is_ready();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Health { ready })).into_response()
}

/// The guest's console: after the upgrade, bytes in both directions, those kept from before first.
#[utoipa::path(
    get,
    path = "/console",
    params(("upgrade" = String, Header, description = "ringer-console")),
    responses(
        (status = 101, description = "From here on the connection is the console. \
            The header ringer-keys says whether keys reach the guest (yes, no)"),
        (status = 426, description = "The request has no such upgrade", body = Refused),
        (status = 503, description = "Too many are attached", body = Refused)
    )
)]
async fn console(State(routes): State<Routes>, mut request: HttpRequest) -> Response {
    let wanted = request.headers().get(header::UPGRADE);
    if wanted.is_none_or(|protocol| protocol != CONSOLE_PROTOCOL) {
        let why = format!("the console needs the header `Upgrade: {CONSOLE_PROTOCOL}`");
        return refuse(StatusCode::UPGRADE_REQUIRED, why);
    }
    let Ok(permit) = ATTACHED.try_acquire() else {
        let why = format!("{MOST_ATTACHED} are attached already");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let keys = match routes.console.takes_keys {
        true => "yes",
        false => "no",
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _permit = permit;
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Patient<UnixStream>>>() else {
            return;
        };
        // Whoever looks at a console may stop reading for as long as they like.
        let (reader, writer) = parts.io.into_inner().into_inner().into_split();
        let early = std::io::Cursor::new(parts.read_buf);
        let reader = tokio::io::AsyncReadExt::chain(early, reader);
        routes.console.serve(reader, writer).await;
    });
    let headers = HeaderMap::from_iter([
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static(CONSOLE_PROTOCOL)),
        (
            header::HeaderName::from_static("ringer-keys"),
            HeaderValue::from_static(keys),
        ),
    ]);
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "An OpenAPI document"))
)]
async fn document() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], openapi()).into_response()
}

async fn unknown() -> Response {
    let why = "there is no such thing here; GET /openapi.json lists what there is";
    refuse(StatusCode::NOT_FOUND, why)
}

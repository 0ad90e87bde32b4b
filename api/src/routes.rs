//! Which call is answered by which function; what every answer has in common.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use protocol::error::ErrorCode;

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::BodyRead;
use crate::{cluster, conversations, health, members, messages, openapi, users};

/// One call: a method on a path, and what answers it.
pub(crate) type Route = (Method, &'static str, MethodRouter<Arc<Context>>);

/// What there is to ask.
const OPENAPI: &str = "/v1/openapi.json";

/// Every call there is.
pub(crate) fn all() -> Vec<Route> {
    const CONVERSATION: &str = "/v1/conversations/{conversation}";
    const MEMBERS: &str = "/v1/conversations/{conversation}/members";
    const MEMBER: &str = "/v1/conversations/{conversation}/members/{user}";
    const MESSAGES: &str = "/v1/conversations/{conversation}/messages";
    vec![
        (Method::POST, "/v1/conversations", post(conversations::create)),
        (Method::GET, CONVERSATION, get(conversations::show)),
        (Method::PATCH, CONVERSATION, patch(conversations::rename)),
        (Method::DELETE, CONVERSATION, delete(conversations::remove)),
        (Method::GET, MEMBERS, get(members::list)),
        (Method::POST, MEMBERS, post(members::add)),
        (Method::PATCH, MEMBER, patch(members::set_role)),
        (Method::DELETE, MEMBER, delete(members::remove)),
        (Method::GET, MESSAGES, get(messages::page)),
        (Method::POST, MESSAGES, post(messages::send)),
        (Method::GET, "/v1/users/{user}/conversations", get(users::conversations)),
        (Method::GET, "/v1/users/{user}/presence", get(users::presence)),
        (Method::GET, "/v1/cluster", get(cluster::status)),
        (Method::POST, "/v1/cluster/drain", post(cluster::drain)),
        (Method::POST, "/v1/cluster/undrain", post(cluster::undrain)),
        (Method::POST, "/v1/cluster/move", post(cluster::move_slot)),
        (Method::GET, "/healthz", get(health::alive)),
        (Method::GET, "/readyz", get(health::ready)),
        (Method::GET, "/metrics", get(health::metrics)),
        (Method::GET, OPENAPI, get(openapi::serve)),
    ]
}

/// The whole API.
pub(crate) fn router(context: Arc<Context>) -> Router {
    all()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&context), refuse_while_closed))
        .layer(from_fn(tell_of_close))
        .with_state(context)
}

/// Before the server is open it answers those who operate it, and says what there is to ask; calls have to wait.
async fn refuse_while_closed(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let asks_routers = path.starts_with("/v1/") && path != OPENAPI;
    match context.check_open() {
        Err(failure) if asks_routers => failure.into_response(),
        _ => next.run(request).await,
    }
}

/// An answer that leaves a body unread ends its connection (RFC 9112, section 9.6). A client that is not told so sends its
/// next request there, and gets no answer.
async fn tell_of_close(mut request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let read = BodyRead::default();
    request.extensions_mut().insert(read.clone());
    let mut response = next.run(request).await;
    if has_body && !read.is_whole() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn unknown_path() -> Failure {
    Failure::new(ErrorCode::NotFound, "there is no such call; `/v1/openapi.json` lists them all")
}

async fn wrong_method() -> Failure {
    Failure::bad_request("the call has no such method; `Allow` names the ones it has")
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

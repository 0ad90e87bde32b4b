//! `/healthz`, `/readyz` and `/metrics`: for those who operate the server. They need no token and show no message.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::context::{Context, NOT_OPEN};
use crate::metrics::CONTENT_TYPE;

/// The process answers.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "alive": true }))
}

/// Messages are stored and delivered, and new clients are welcome.
pub(crate) async fn ready(State(context): State<Arc<Context>>) -> Response {
    let readiness = if context.is_draining() {
        Err("the server drains".to_owned())
    } else if context.check_open().is_err() {
        Err(NOT_OPEN.to_owned())
    } else {
        // One flight may be under way already.
        context.canary.ready(2 * context.settings.canary_timeout).await
    };
    match readiness {
        Ok(()) => Json(json!({ "ready": true })).into_response(),
        Err(reason) => {
            let body = json!({ "ready": false, "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// What was counted, in Prometheus text.
pub(crate) async fn metrics(State(context): State<Arc<Context>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], context.metrics.render()).into_response()
}

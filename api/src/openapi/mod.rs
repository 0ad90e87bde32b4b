//! The OpenAPI 3.1 document that `/v1/openapi.json` serves. A test holds it and the routes together, both ways.

mod paths;
mod schemas;

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The whole document.
fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Murmuring",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Conversations, members, messages and users over HTTP.",
            "description": "The second port of a Murmuring server: the same ids, tokens and error codes as over its WebSocket. \
                A user's token acts as that user. An API key, or a token with `admin`, acts for the server: it is asked \
                for neither membership nor role.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" }
        },
        "tags": [
            { "name": "conversations", "description": "Conversations, their members and their messages." },
            { "name": "users", "description": "What is a user's own." },
            { "name": "operation", "description": "For those who run the server; no token." }
        ],
        "security": [{ "bearer": [] }, { "apiKey": [] }],
        "paths": paths::all(),
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A user's token (JWT), or an API key."
                },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key" }
            },
            "parameters": paths::parameters(),
            "responses": paths::refusals(),
            "schemas": schemas::all()
        }
    })
}

/// `GET /v1/openapi.json`
pub(crate) async fn serve() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text: &'static str = TEXT.get_or_init(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes;

    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
                methods.map(move |(method, operation)| (method.clone(), path.clone(), operation))
            })
            .collect()
    }

    #[test]
    fn the_document_and_the_routes_name_the_same_calls() {
        let document = document();
        let documented: BTreeSet<(String, String)> =
            operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
        let served: BTreeSet<(String, String)> = routes::all()
            .into_iter()
            .map(|(method, path, _)| (method.as_str().to_ascii_lowercase(), path.to_owned()))
            .collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn every_call_has_its_own_name_its_path_parameters_and_answers_with_schemas() {
        let document = document();
        let mut names = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let place = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().expect(&place).to_owned()), "{place}");
            let declared = operation["parameters"].to_string();
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(declared.contains(&format!("#/components/parameters/{name}\"")), "{place}: {name}");
            }
            let answers = operation["responses"].as_object().expect(&place);
            assert!(answers.keys().any(|status| status.starts_with('2')), "{place}");
            assert!(
                answers.values().all(|answer| answer["content"].is_object() || answer["$ref"].is_string())
            );
            assert_eq!(
                operation["requestBody"].is_object(),
                method == "post" || method == "patch",
                "{place}"
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_part_is_referred_to() {
        let document = document();
        let mut wanted = BTreeSet::new();
        references(&document, &mut wanted);
        for reference in &wanted {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for kind in ["parameters", "responses", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(wanted.contains(&format!("#/components/{kind}/{name}")), "{kind} {name} is unused");
            }
        }
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref") {
                    found.insert(reference.as_str().unwrap().to_owned());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
}

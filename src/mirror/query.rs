//! A logged query, and the request that asks it again: marked as mirrored, and otherwise what was asked then.

use super::object::Object;

/// Stands among the tags of a query that was asked by a mirror; such a query is not mirrored again.
pub const TAG: &str = "chalk-mirror";

/// What a logged query asks for.
#[derive(Clone, Debug)]
pub struct Query {
    request: Object,
    context: Object,
    tags: Vec<String>,
    mirrored: bool,
}

impl Query {
    /// Reads the JSON body of an online query. An error says which part cannot be read, and nothing of it.
    pub fn read(request: &str) -> Result<Self, String> {
        let fault = |part: &str, error: &serde_json::Error| {
            format!("{part}: {} at line {} column {}", kind(error), error.line(), error.column())
        };
        let request = Object::from_text(request).map_err(|error| fault("request", &error))?;
        let part = |key: &str| match request.get(key) {
            Some(text) => Object::from_text(text).map_err(|error| fault(&format!("request.{key}"), &error)),
            None => Ok(Object::default()),
        };
        part("inputs")?;
        let context = part("context")?;
        let tags = |object: &Object, part: &str| match object.get("tags") {
            Some(text) => serde_json::from_str::<Vec<String>>(text).map_err(|error| fault(part, &error)),
            None => Ok(Vec::new()),
        };
        let own = tags(&request, "request.tags")?;
        let tags = tags(&context, "request.context.tags")?;
        let mirrored = own.iter().chain(&tags).any(|tag| tag == TAG);
        Ok(Self { request, context, tags, mirrored })
    }

    /// Whether it was asked by a mirror.
    pub const fn is_mirrored(&self) -> bool {
        self.mirrored
    }

    /// The query's name.
    pub fn name(&self) -> Option<String> {
        self.request.text("query_name")
    }

    /// The branch that it was asked on.
    pub fn branch(&self) -> Option<String> {
        self.request.text("branch_id")
    }

    /// The request that asks it again, on a branch where one is given.
    pub fn again(&self, branch: Option<&str>) -> Object {
        let mut context = self.context.clone();
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).chain([TAG]).collect();
        context.set("tags", &tags);
        let mut request = self.request.clone();
        request.set("context", &context);
        if let Some(branch) = branch {
            request.set("branch_id", &branch);
        }
        request
    }
}

/// What is wrong, without a word of the text.
fn kind(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => "ends too early".to_owned(),
        serde_json::error::Category::Syntax => "is not JSON".to_owned(),
        serde_json::error::Category::Io => "cannot be read".to_owned(),
        serde_json::error::Category::Data => "has another type than it should, or a key twice".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_again_it_is_the_same_but_for_the_mark() {
        let query = Query::read(r#"{"inputs":{"user.id":12345678901234567890.0},"outputs":["user.score"],"context":{"environment":"prod","tags":["a"]},"query_name":"q"}"#).expect("a query");
        assert!(!query.is_mirrored());
        assert_eq!(query.name().as_deref(), Some("q"));
        assert_eq!(
            query.again(None).to_text(),
            r#"{"inputs":{"user.id":12345678901234567890.0},"outputs":["user.score"],"context":{"environment":"prod","tags":["a","chalk-mirror"]},"query_name":"q"}"#
        );
        let without = Query::read(r#"{"outputs":[],"context":null}"#).expect("a query");
        assert_eq!(
            without.again(Some("next")).to_text(),
            r#"{"outputs":[],"context":{"tags":["chalk-mirror"]},"branch_id":"next"}"#
        );
    }

    #[test]
    fn a_query_of_a_mirror_is_known_by_its_mark_wherever_it_stands() {
        for request in [r#"{"tags":["chalk-mirror"]}"#, r#"{"context":{"tags":["x","chalk-mirror"]}}"#] {
            assert!(Query::read(request).expect("a query").is_mirrored());
        }
        let again = Query::read("{}").expect("a query").again(None).to_text();
        assert!(Query::read(&again).expect("a query").is_mirrored());
    }

    #[test]
    fn what_cannot_be_read_is_named_without_its_values() {
        for (request, part) in [
            ("[\"secret\"]", "request: has another type"),
            ("{\"inputs\":\"secret\"}", "request.inputs: has another type"),
            ("{\"context\":{\"tags\":\"secret\"}}", "request.context.tags: has another type"),
            ("{\"tags\":[1]}", "request.tags: has another type"),
            ("{\"secret\":1,\"secret\":2}", "request: has another type than it should, or a key twice"),
            ("{\"secret\"", "request: ends too early"),
            ("secret", "request: is not JSON"),
        ] {
            let error = Query::read(request).expect_err(request);
            assert!(error.starts_with(part) && !error.contains("secret"), "{error}");
        }
    }
}

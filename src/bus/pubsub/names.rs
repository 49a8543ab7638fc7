//! Names of topics and subscriptions: short ones are of the configured project, whole ones are taken as they are.

/// `projects/P/topics/T` of a topic.
pub(super) fn topic(project: &str, name: &str) -> String {
    whole(project, "topics", name)
}

/// `projects/P/subscriptions/S` of a subscription.
pub(super) fn subscription(project: &str, name: &str) -> String {
    whole(project, "subscriptions", name)
}

/// A name as people write it: without the project where that is the configured one.
pub(super) fn short<'a>(project: &str, whole: &'a str) -> &'a str {
    let (of, name) = match whole.strip_prefix("projects/").and_then(|rest| rest.split_once('/')) {
        Some((of, rest)) => (of, rest.split_once('/').map_or(rest, |(_, name)| name)),
        None => return whole,
    };
    if of == project { name } else { whole }
}

fn whole(project: &str, kind: &str, name: &str) -> String {
    if name.starts_with("projects/") { name.to_owned() } else { format!("projects/{project}/{kind}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_of_the_configured_project_and_a_whole_one_is_kept() {
        assert_eq!(topic("p", "t"), "projects/p/topics/t");
        assert_eq!(topic("p", "projects/other/topics/t"), "projects/other/topics/t");
        assert_eq!(subscription("p", "s"), "projects/p/subscriptions/s");
        assert_eq!(short("p", "projects/p/topics/t"), "t");
        assert_eq!(short("p", "projects/other/topics/t"), "projects/other/topics/t");
        assert_eq!(short("p", "_deleted-topic_"), "_deleted-topic_");
    }
}

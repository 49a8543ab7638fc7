//! Names of topics and subscriptions on Pub/Sub: short ones are of the configured project, whole ones say theirs.
//!
//! So what is of the configured project has two names. Those of a file are made short where it is read, and what a bus
//! tells, or an old message says, before it is compared with them.

const TOPICS: &str = "topics";
const SUBSCRIPTIONS: &str = "subscriptions";

/// `projects/P/topics/T` of a topic.
pub fn topic(project: &str, name: &str) -> String {
    whole(project, TOPICS, name)
}

/// `projects/P/subscriptions/S` of a subscription.
pub fn subscription(project: &str, name: &str) -> String {
    whole(project, SUBSCRIPTIONS, name)
}

/// A name as people write it: without the project where that is the configured one.
pub fn short<'a>(project: &str, whole: &'a str) -> &'a str {
    let (of, name) = match whole.strip_prefix("projects/").and_then(|rest| rest.split_once('/')) {
        Some((of, rest)) => (of, rest.split_once('/').map_or(rest, |(_, name)| name)),
        None => return whole,
    };
    if of == project { name } else { whole }
}

/// A topic's name as people write it; what names no topic of the project stays as it is.
pub fn short_topic<'a>(project: &str, name: &'a str) -> &'a str {
    of_project(project, TOPICS, name).unwrap_or(name)
}

/// The same of a subscription.
pub fn short_subscription<'a>(project: &str, name: &'a str) -> &'a str {
    of_project(project, SUBSCRIPTIONS, name).unwrap_or(name)
}

/// A group as the settings name it. Where names have a project a group is a subscription; elsewhere it has one name.
pub fn group<'a>(project: Option<&str>, name: &'a str) -> &'a str {
    project.map_or(name, |project| short_subscription(project, name))
}

fn whole(project: &str, kind: &str, name: &str) -> String {
    if name.starts_with("projects/") { name.to_owned() } else { format!("projects/{project}/{kind}/{name}") }
}

fn of_project<'a>(project: &str, kind: &str, name: &'a str) -> Option<&'a str> {
    let of_it = name.strip_prefix("projects/")?.strip_prefix(project)?.strip_prefix('/')?;
    of_it.strip_prefix(kind)?.strip_prefix('/').filter(|short| !short.is_empty())
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

    #[test]
    fn only_what_is_of_the_project_and_of_the_kind_is_made_short() {
        assert_eq!(short_topic("p", "projects/p/topics/t"), "t");
        assert_eq!(short_subscription("p", "projects/p/subscriptions/s"), "s");
        for kept in ["s", "projects/other/subscriptions/s", "projects/pp/subscriptions/s", "projects/p/topics/s"] {
            assert_eq!(short_subscription("p", kept), kept);
        }
        assert_eq!(short_topic("p", "projects/p/topics/"), "projects/p/topics/");
    }

    #[test]
    fn a_group_has_two_names_only_where_names_have_a_project() {
        let whole = "projects/p/subscriptions/s";
        assert_eq!((group(Some("p"), whole), group(Some("p"), "s"), group(None, whole)), ("s", "s", whole));
    }
}

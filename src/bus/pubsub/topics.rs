//! What there is: topics, subscriptions, and what they are set to.

use std::time::Duration;

use google_cloud_pubsub::model::Subscription;
use google_cloud_wkt::Timestamp;

use super::client::{CALL_WITHIN, Clients};
use super::{errors, limits};
use crate::bus::{BusError, Keeping, TopicInfo};

/// How long a topic that is made here keeps its messages, so that it can be read again.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// A question that has no answer by then has none: a little longer than a call is tried.
const ANSWERS_WITHIN: Duration = CALL_WITHIN.saturating_add(Duration::from_secs(5));
/// What a subscription is shown as that has lost its topic.
const DELETED: &str = "_deleted-topic_";

/// A topic by its name.
pub(super) async fn topic(clients: &Clients, name: &str) -> Result<TopicInfo, BusError> {
    Ok(info(kept_for(clients, name).await?))
}

/// How long a topic keeps messages, whoever has read them; `None` where it does not.
pub(super) async fn kept_for(clients: &Clients, name: &str) -> Result<Option<Duration>, BusError> {
    let call = clients.topics().await?.get_topic().set_topic(clients.topic_name(name));
    let topic =
        call.send().await.map_err(|error| by_name(name, clients.classify(&format!("topic `{name}`"), &error)))?;
    Ok(kept(topic.message_retention_duration))
}

/// What is not there is told by its name alone, as it was given.
fn by_name(name: &str, error: BusError) -> BusError {
    match error {
        BusError::NotFound(_) => BusError::NotFound(name.to_owned()),
        other => other,
    }
}

/// How long a topic or a subscription keeps messages; the service never says a time below zero.
fn kept(told: Option<google_cloud_wkt::Duration>) -> Option<Duration> {
    told.map(|told| Duration::from_secs(told.seconds().max(0) as u64))
}

/// What is told of a topic or a subscription that keeps its messages for so long.
fn info(kept: Option<Duration>) -> TopicInfo {
    let kept = kept.map(|kept| kept.as_secs() * 1000);
    TopicInfo {
        partitions: 1,
        max_message_bytes: Some(limits::LARGEST),
        size_setting: None,
        max_header_bytes: Some(limits::LONGEST_ATTRIBUTE),
        // The service does not tell.
        messages: None,
        keeping: Keeping { for_ms: kept, ..Keeping::default() },
        untold: None,
    }
}

/// A subscription as a reader needs it.
pub(super) struct Described {
    /// Its whole name.
    pub(super) name: String,
    /// Its topic, as people name it.
    pub(super) topic: String,
    /// What it is set to.
    pub(super) settings: Subscription,
}

/// A subscription by its name.
pub(super) async fn described(clients: &Clients, name: &str) -> Result<Described, BusError> {
    let whole = clients.subscription_name(name);
    let settings = get_subscription(clients, &whole).await.map_err(|error| by_name(name, error))?;
    if has_lost_its_topic(&settings) {
        return Err(BusError::Settings(format!(
            "subscription `{name}` has lost its topic, which was deleted; make both anew"
        )));
    }
    let topic = clients.short(&settings.topic).to_owned();
    Ok(Described { name: whole, topic, settings })
}

/// A subscription that has lost its topic brings nothing more, whatever is sent to a new one of the same name.
fn has_lost_its_topic(settings: &Subscription) -> bool {
    settings.topic == DELETED
}

/// Whether the service answers, asked about a subscription by its whole name, and would bring messages of `topic`. Who may read may not
/// be allowed to ask: that is an answer too, and whoever may not read is told by the stream. Who is not known at all has no answer.
pub(super) async fn is_there(clients: &Clients, whole: &str, topic: &str) -> Result<(), BusError> {
    let call = clients.subscriptions().await?.get_subscription().set_subscription(whole);
    let what = format!("subscription `{}`", clients.short(whole));
    let answer = tokio::time::timeout(ANSWERS_WITHIN, call.send()).await;
    match answer.map_err(|_| BusError::Unavailable(format!("{what}: no answer within {ANSWERS_WITHIN:?}")))? {
        Ok(settings) if has_lost_its_topic(&settings) => Err(without_topic(clients, clients.short(whole), topic).await),
        Ok(_) => Ok(()),
        Err(error) if errors::is_about_a_right(&error) => Ok(()),
        Err(error) => Err(clients.classify(&what, &error)),
    }
}

/// What it means that a subscription lost its topic while it was read. Where there is another one of its name, what comes to that since
/// then is read by nobody; where who asks may not see topics, the one that was deleted is all that is known.
async fn without_topic(clients: &Clients, name: &str, topic: &str) -> BusError {
    match kept_for(clients, topic).await {
        Ok(_) => BusError::Gap(format!(
            "topic `{topic}` was deleted and made anew, and subscription `{name}` is still of the one that is gone: what comes to \
             the new one it does not bring. Delete the subscription and make it anew"
        )),
        Err(error @ BusError::Unavailable(_)) => error,
        Err(_) => {
            BusError::Settings(format!("subscription `{name}` has lost its topic, which was deleted; make both anew"))
        }
    }
}

async fn get_subscription(clients: &Clients, whole: &str) -> Result<Subscription, BusError> {
    let call = clients.subscriptions().await?.get_subscription().set_subscription(whole);
    let what = format!("subscription `{}`", clients.short(whole));
    call.send().await.map_err(|error| clients.classify(&what, &error))
}

/// What a writer reads from a subscription is what its topic is.
pub(super) async fn subscription(clients: &Clients, name: &str) -> Result<TopicInfo, BusError> {
    Ok(info(kept(described(clients, name).await?.settings.message_retention_duration)))
}

/// Makes a topic that keeps its messages for a while; one that exists is left as it is.
pub(super) async fn create(clients: &Clients, name: &str) -> Result<(), BusError> {
    let kept = google_cloud_wkt::Duration::clamp(KEPT_FOR.as_secs() as i64, 0);
    let call =
        clients.topics().await?.create_topic().set_name(clients.topic_name(name)).set_message_retention_duration(kept);
    is_made(clients, &format!("topic `{name}`"), call.send().await).map(drop)
}

/// Whether what was to be made is new; what is there already is left as it is.
fn is_made<T>(clients: &Clients, what: &str, answer: Result<T, google_cloud_pubsub::Error>) -> Result<bool, BusError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if errors::already_exists(&error) => Ok(false),
        Err(error) => Err(clients.classify(what, &error)),
    }
}

/// Makes a subscription of a topic that delivers in order of keys, and begins with the earliest message that the topic has kept; one that
/// exists is left as it is.
pub(super) async fn create_subscription(clients: &Clients, name: &str, topic: &str) -> Result<(), BusError> {
    let admin = clients.subscriptions().await?;
    let whole = clients.subscription_name(name);
    let call = admin
        .create_subscription()
        .set_name(&whole)
        .set_topic(clients.topic_name(topic))
        .set_ack_deadline_seconds(60)
        .set_enable_message_ordering(true);
    let is_new = is_made(clients, &format!("subscription `{name}`"), call.send().await)?;
    if is_new && kept_for(clients, topic).await?.is_some() {
        let seek = admin.seek().set_subscription(&whole).set_time(Timestamp::clamp(0, 0));
        let what = format!("setting subscription `{name}` back to the earliest message");
        match seek.send().await {
            Ok(_) => {}
            // Google's emulator cannot set one back that delivers in order.
            Err(error) if clients.settings.emulator.is_some() => {
                tracing::warn!("{what} is not possible here, so it begins now: {}", errors::describe(&error));
            }
            Err(error) => return Err(clients.classify(&what, &error)),
        }
    }
    Ok(())
}

/// Whether a subscription reads a topic.
pub(super) async fn reads(clients: &Clients, topic: &str, subscription: &str) -> Result<bool, BusError> {
    match described(clients, subscription).await {
        Ok(known) => Ok(clients.topic_name(&known.topic) == clients.topic_name(topic)),
        Err(BusError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

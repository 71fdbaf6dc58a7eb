//! `enq show`: one resource, whole.

use enq_protocol::vocabulary::{Queue, ResourceName, ResourceView, SessionView};
use serde_json::{Value, json};

use super::{
    args::{Format, Reach, Show},
    ask,
    exit::Failure,
    render, sda, words,
};

/// Shows it. That nobody has a lock on it is an answer, too.
pub(super) async fn show(reach: &Reach, show: &Show) -> Result<(), Failure> {
    let path = ask::path(&show.name, show.path)?;
    let client = ask::client(reach).await?;
    let space = ask::space(reach, &client).await?;
    let seen = ask::within(reach, client.show_resource(space, &path)).await?;
    match (show.output.format, seen) {
        (Format::Json, None) => render::object("resource", &Value::Null),
        (Format::Json, Some((resource, sessions))) => {
            render::object("resource", &resource_json(&resource, &reach.space, &sessions))
        }
        (Format::Name, None) => Ok(()),
        (Format::Name, Some((resource, _))) => {
            render::print(&resource.locks.iter().map(|lock| format!("{}\n", lock.lock)).collect::<String>())
        }
        (Format::Table | Format::Wide, None) => {
            render::print(&format!("Nobody has a lock on {}.\n", words::name(&path)))
        }
        (Format::Table | Format::Wide, Some((resource, sessions))) => {
            render::print(&sda::page(&resource, &reach.space, &sessions))
        }
    }
}

fn resource_json(resource: &ResourceView, space: &str, sessions: &[SessionView]) -> Value {
    let queue = |queue: Queue| -> Vec<Value> {
        let locks = resource.locks.iter().filter(|lock| lock.queue == queue);
        locks.map(|lock| words::lock_json(lock, sessions)).collect()
    };
    json!({
        "name": ResourceName::path_to_printable(&resource.path),
        "space": space,
        "value": words::value_json(&resource.value),
        "granted": queue(Queue::Granted),
        "conversion": queue(Queue::Conversion),
        "waiting": queue(Queue::Waiting),
        "lock_count": resource.lock_count,
        "subresources": resource.subresources,
    })
}

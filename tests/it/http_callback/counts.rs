//! What is counted: how requests fared, in few words, and nothing of theirs.

use std::sync::{Arc, Mutex};

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use vestibule::store::PendingId;

use super::host::{Door, app, in_memory, namespace, question};

/// P-8: each request is counted once, by one of a few outcomes.
#[tokio::test]
async fn requests_are_counted_by_outcome_alone() {
    let counted = Counted::default();
    let _here = metrics::set_default_local_recorder(&counted);
    let [pendings, _] = in_memory();
    let door = Door::Service(app(&pendings));
    let id = pendings.create(&namespace(), &question()).await.unwrap().id;
    let unknown = PendingId::random(id.namespace());
    for path in [format!("/pending/{id}"), format!("/callback?id={unknown}"), "/pending/x".into()] {
        door.get(&path).await;
    }
    let counted = counted.0.lock().unwrap();
    let of_edge: Vec<_> = counted.iter().filter(|key| key.starts_with("vestibule_http_")).collect();
    let total = |outcome| format!("vestibule_http_total edge=pending outcome={outcome}");
    assert_eq!(of_edge, [&total("loaded"), &total("not_found"), &total("invalid_id")]);
}

/// Every increment, in order.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<Mutex<Vec<String>>>);

impl metrics::Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Counter::from_arc(Arc::new(One(name, self.clone())))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

struct One(String, Counted);

impl CounterFn for One {
    fn increment(&self, by: u64) {
        assert_eq!(by, 1);
        self.1.0.lock().unwrap().push(self.0.clone());
    }

    fn absolute(&self, _: u64) {
        panic!("nothing of the edge is set")
    }
}

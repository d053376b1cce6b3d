//! What general job queues on Redis do with what is due: take it, and say that it is done. They keep
//! neither a lease that is fenced nor a secret, and tell nobody.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use apalis_core::{
    backend::TaskSink,
    error::BoxDynError,
    worker::{builder::WorkerBuilder, context::WorkerContext, ext::parallelize::ParallelizeExt},
};
use apalis_redis::{ConnectionLike, RedisStorage, queries::fetch_next};
use redis::{aio::MultiplexedConnection, cmd};
use rsmq_async::{Rsmq, RsmqConnection};
use tokio::{
    runtime::Handle,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use crate::{
    contestants,
    rounds::{Round, Turn, Work, work},
    support::server::TestServer,
};

/// So many are taken at once, by us as well.
pub const BATCH: u16 = 16;

/// Jobs of apalis at once: its fetch unpacks all that are due, which Lua refuses from about 8000 on.
pub const MOST_JOBS: usize = 5_000;

/// As much as a sealed secret takes.
const PAYLOAD: usize = 364;

/// Messages of rsmq, received sixteen at a time as the library claims, each then made visible again:
/// that is its way to put one off, and one command where deleting and sending are two.
pub async fn rsmq(server: &TestServer, messages: usize) -> Work {
    let queue = queue_of(server, messages).await;
    let received = Arc::new(Mutex::new(Vec::new()));
    work(move |_| {
        let (mut queue, received) = (queue.clone(), received.clone());
        async move {
            let next = received.lock().unwrap().pop();
            let id = match next {
                Some(id) => id,
                None => {
                    let mut more = receive(&mut queue, Duration::from_secs(12)).await;
                    let Some(id) = more.pop() else { return false };
                    received.lock().unwrap().extend(more);
                    id
                }
            };
            queue.change_message_visibility("due", &id, Duration::ZERO).await.unwrap();
            true
        }
    })
}

/// Only received, and visible again at once, so that none runs out. Each message counts.
pub async fn rsmq_receives(server: &TestServer, messages: usize) -> Work {
    let queue = queue_of(server, messages).await;
    work(move |_| {
        let mut queue = queue.clone();
        async move { receive(&mut queue, Duration::ZERO).await.len() }
    })
}

async fn queue_of(server: &TestServer, messages: usize) -> Rsmq {
    let connection = contestants::patient(server).await;
    let mut queue = Rsmq::new_with_connection(connection, false, None).await.unwrap();
    queue.create_queue("due", None, None, Some(-1)).await.unwrap();
    for first in (0..messages).step_by(1_000) {
        let batch = vec!["s".repeat(PAYLOAD); 1_000.min(messages - first)];
        queue.send_message_batch("due", batch, None).await.unwrap();
    }
    queue
}

async fn receive(queue: &mut Rsmq, hidden: Duration) -> Vec<String> {
    let more = queue.receive_message_batch::<String>("due", Some(hidden), BATCH.into());
    more.await.unwrap().into_iter().map(|message| message.id).collect()
}

/// An apalis worker over so many jobs with nothing to do in them: from the first that runs until all
/// are acknowledged, so that neither pushing them nor its start and stop count.
pub fn apalis(server: &TestServer, jobs: usize) -> Turn {
    let url = server.url();
    Box::new(move || {
        // Its future is not `Send` whatever the lifetimes are: on a thread of its own.
        let (runtime, url) = (Handle::current(), url.clone());
        let working = spawn_blocking(move || runtime.block_on(worked_off(url, jobs)));
        Box::pin(async move { working.await.unwrap() })
    })
}

async fn worked_off(url: String, jobs: usize) -> Round {
    let connection = apalis_redis::connect(url).await.unwrap();
    let storage = storage_of(connection.clone(), "worked", BATCH.into(), jobs).await;
    let done = cmd("SCARD").arg(storage.get_config().done_jobs_set()).to_owned();
    let before: usize = done.query_async(&mut connection.clone()).await.unwrap();
    let first = Arc::new(OnceLock::new());
    let ran = first.clone();
    let job = move |_: String| {
        ran.get_or_init(Instant::now);
        async { Ok::<_, BoxDynError>(()) }
    };
    let worker = WorkerBuilder::new(name()).backend(storage).parallelize(tokio::spawn).build(job);
    let took = Arc::new(OnceLock::new());
    let taken = took.clone();
    let until_all_are_done = move |worker: WorkerContext| {
        let (mut connection, done) = (connection.clone(), done.clone());
        let (first, taken) = (first.clone(), taken.clone());
        async move {
            while done.query_async::<usize>(&mut connection).await.unwrap() < before + jobs {
                sleep(Duration::from_millis(2)).await;
            }
            taken.get_or_init(|| first.get().unwrap().elapsed());
            worker.stop()
        }
    };
    worker.run_with_ctx(until_all_are_done).await.unwrap();
    Round { per_second: jobs as f64 / took.get().unwrap().as_secs_f64(), cpu_us: None }
}

/// So many jobs of apalis, only fetched, by so many tasks until there are none. Each job counts.
pub async fn apalis_fetches(server: &TestServer, tasks: usize, jobs: usize) -> Turn {
    let connection = contestants::patient(server).await;
    Box::new(move || {
        let connection = connection.clone();
        Box::pin(async move { fetched(connection, tasks, jobs).await })
    })
}

async fn fetched(mut connection: MultiplexedConnection, tasks: usize, jobs: usize) -> Round {
    let storage = storage_of(connection.clone(), "fetched", BATCH.into(), jobs).await;
    let (config, worker) = (storage.get_config().clone(), WorkerContext::new(&name()));
    let register = cmd("ZADD").arg(config.workers_set()).arg(0).arg(worker.name()).to_owned();
    register.query_async::<()>(&mut connection).await.unwrap();
    let (started, mut running) = (Instant::now(), JoinSet::new());
    for _ in 0..tasks {
        let (mut connection, config, worker) = (connection.clone(), config.clone(), worker.clone());
        running.spawn(async move {
            let mut fetched = 0;
            loop {
                match fetch_next(&mut connection, &worker, &config).await.unwrap().len() {
                    0 => return fetched,
                    more => fetched += more,
                }
            }
        });
    }
    assert_eq!(running.join_all().await.into_iter().sum::<usize>(), jobs);
    Round { per_second: jobs as f64 / started.elapsed().as_secs_f64(), cpu_us: None }
}

async fn storage_of<C>(
    connection: C,
    queue: &str,
    batch: usize,
    jobs: usize,
) -> RedisStorage<String, C>
where
    C: ConnectionLike + Clone + Send + Sync + Unpin + 'static,
{
    let config = apalis_redis::Config::default().queue(queue).batch_size(batch);
    let mut storage = RedisStorage::new(connection).with_config(config);
    for first in (0..jobs).step_by(100) {
        let jobs = vec!["s".repeat(PAYLOAD); 100.min(jobs - first)];
        storage.push_bulk(jobs).await.unwrap();
    }
    storage
}

/// A worker's: one that stopped just now may not come back at once.
fn name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("bench-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

//! The primary is killed, switched over, cut off, and left without its Patroni, while clients use the service.

use std::time::{Duration, Instant};

use sqlx::Executor as _;

use crate::clients::{Clients, show};
use crate::harness::{Service, count};
use crate::world::{World, rounds};

/// Bound for the service's return after the new primary's promotion.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// For a write that must not be acknowledged.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// Bound for a schedule that runs each minute, and a little.
const SCHEDULE_TIMEOUT: Duration = Duration::from_secs(150);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The primary's machine ends: Patroni, PostgreSQL and its sessions.
    Kill,
    /// Somebody asks Patroni for another primary.
    SwitchOver,
    /// The primary is cut off from etcd and the other members. HAProxy and the service still reach it.
    Isolate,
    /// Patroni of the primary hangs. Its PostgreSQL runs, and nobody ends it.
    FreezePatroni,
}

impl Event {
    async fn happens(self, world: &mut World, primary: usize) {
        let patroni = &mut world.patroni;
        match self {
            Self::Kill => patroni.members[primary].kill(),
            Self::SwitchOver => (),
            Self::Isolate => patroni.isolate(primary, true),
            Self::FreezePatroni => patroni.members[primary].freeze_patroni(),
        }
    }

    async fn ends(self, world: &mut World, old: usize) {
        let patroni = &mut world.patroni;
        match self {
            Self::Kill => patroni.members[old].start().expect("it starts again"),
            Self::SwitchOver => (),
            Self::Isolate => patroni.isolate(old, false),
            Self::FreezePatroni => patroni.members[old].thaw_patroni(),
        }
    }
}

async fn survives(event: Event) {
    let mut world = World::new().await;
    let mut owner = world.owner().await;
    let table = "CREATE TABLE fenced (id int)";
    owner.execute(table).await.expect("it is created");
    let (serving, workers) = world.replicas().await;
    let clients = Clients::start(&serving).await;
    clients.are_served_since(Instant::now()).await;
    let mut failed = Instant::now();
    for round in 1..=rounds() {
        let old = world.patroni.primary().await.expect("there is one");
        let fault = Instant::now();
        event.happens(&mut world, old).await;
        let patroni = &world.patroni;
        let switched = async {
            if event == Event::SwitchOver {
                patroni.switch_over().await.expect("it is accepted");
            }
        };
        let (new, ()) = tokio::join!(
            async {
                let new = patroni.new_primary(Some(old)).await;
                (new.expect("there is a new primary"), Instant::now())
            },
            switched
        );
        let (new, promoted) = new;
        failed = promoted;
        clients.are_served_since(promoted).await;
        // Until the requests have ended that hang on the old primary.
        tokio::time::sleep(BACK_WITHIN).await;
        let outage = clients.outage(fault, promoted);
        show(&format!(
            "{event:?} {round}: member-{new} was primary after {:.1} s, requests were refused for {:.1} s, until {:.1} s after that; \
             {} of {} requests refused, the slowest took {:.1} s",
            (promoted - fault).as_secs_f64(),
            outage.lasted.as_secs_f64(),
            outage.after_promotion.as_secs_f64(),
            outage.refused,
            outage.requests,
            outage.slowest.as_secs_f64(),
        ));
        assert!(
            outage.after_promotion < BACK_WITHIN,
            "back {:?} after the promotion",
            outage.after_promotion
        );
        assert_takes_no_write(&world, old).await;
        event.ends(&mut world, old).await;
        world.patroni.is_whole().await.expect("the cluster heals");
    }
    schedules_run(&world, failed).await;
    clients.stop(&world, rounds()).await;
    let fenced = "SELECT count(*) FROM fenced";
    assert_eq!(count(&mut world.owner().await, fenced).await, 0);
    for process in serving.iter().chain(&workers) {
        assert_no_errors(process);
    }
}

/// The old primary, reached past HAProxy, acknowledges no write.
async fn assert_takes_no_write(world: &World, old: usize) {
    let Some(mut connection) = world.member(old).await else {
        return;
    };
    let write = connection.execute("INSERT INTO fenced VALUES (1)");
    if let Ok(Ok(done)) = tokio::time::timeout(WRITE_TIMEOUT, write).await {
        panic!("the old primary has acknowledged a write: {done:?}");
    }
}

/// A schedule has run since, on a worker that lost its database.
async fn schedules_run(world: &World, since: Instant) {
    let mut owner = world.owner().await;
    let begun = Instant::now();
    loop {
        let ago = since.elapsed().as_secs_f64();
        let ran: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM graphile_worker._private_known_crontabs
             WHERE last_execution > now() - make_interval(secs => $1)",
        )
        .bind(ago)
        .fetch_one(&mut owner)
        .await
        .expect("it counts");
        if ran > 0 {
            return;
        }
        assert!(begun.elapsed() < SCHEDULE_TIMEOUT, "no schedule has run");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Nothing panicked, and no request failed otherwise than by an outage.
fn assert_no_errors(process: &Service) {
    let written = process.written();
    assert!(!written.contains("panicked"), "{written}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_felt_as_503_alone_and_loses_nothing() {
    survives(Event::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_is_felt_as_503_alone_and_loses_nothing() {
    survives(Event::SwitchOver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_cut_off_takes_no_write_and_loses_nothing() {
    survives(Event::Isolate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_whose_patroni_hangs_takes_no_write_and_loses_nothing() {
    survives(Event::FreezePatroni).await;
}

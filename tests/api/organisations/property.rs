//! Random acts of four users on two organisations, two at a time. After each pair every organisation has an owner, none
//! has more members than before or than seats, and whatever succeeded was permitted.
//!
//! `PROPERTY_ROUNDS` is the number of pairs for each seed; by default few, for CI.

use std::collections::BTreeMap;

use groundwork::roles::AccountRole;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ORGANISATIONS, proof};
use crate::harness::{PASSWORD, Session, TestApp};

const NAMES: [&str; 4] = ["ada", "bob", "eve", "kim"];
const SEATS: i64 = 3;
const MORE_SEATS: i64 = 4;

/// Numbers from a seed (`SplitMix64`).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("it is below a usize")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Invite(usize, AccountRole),
    /// The newest invitation of the actor.
    Accept,
    ChangeRole(usize, AccountRole),
    Remove(usize),
    Leave,
    Transfer(usize),
    Delete,
    Restore,
    /// By an operator: a plan with more seats, or with fewer.
    ChangePlan(bool),
}

/// An act of a user on an organisation.
#[derive(Clone, Copy, Debug)]
struct Step {
    actor: usize,
    organisation: usize,
    act: Act,
}

impl Step {
    fn random(numbers: &mut Numbers) -> Self {
        let (actor, organisation, other) = (numbers.below(4), numbers.below(2), numbers.below(4));
        let role = AccountRole::ALL[numbers.below(5)];
        let act = match numbers.below(16) {
            0..=3 => Act::Invite(other, role),
            4..=7 => Act::Accept,
            8..=9 => Act::ChangeRole(other, role),
            10 => Act::Remove(other),
            11 => Act::Leave,
            12 => Act::Transfer(other),
            13 => Act::Delete,
            14 => Act::Restore,
            _ => Act::ChangePlan(numbers.below(2) == 0),
        };
        Self {
            actor,
            organisation,
            act,
        }
    }
}

/// The organisations as they are stored.
#[derive(Clone, Debug, Default)]
struct World {
    /// By organisation and user.
    roles: BTreeMap<(usize, usize), AccountRole>,
    deleted: [bool; 2],
    /// Whether the plan has more seats.
    has_more_seats: [bool; 2],
}

impl World {
    fn members(&self, organisation: usize) -> i64 {
        let of = self.roles.keys().filter(|(of, _)| *of == organisation);
        i64::try_from(of.count()).expect("they are few")
    }

    /// Whether the rules permit a step, apart from seats, invitations and the last owner.
    fn permits(&self, step: Step) -> bool {
        let role = |user| self.roles.get(&(step.organisation, user)).copied();
        if let Act::Accept | Act::ChangePlan(_) = step.act {
            return true;
        }
        let Some(own) = role(step.actor) else {
            return false;
        };
        if let Act::Restore = step.act {
            return own == AccountRole::Owner;
        }
        let is_manager = matches!(own, AccountRole::Owner | AccountRole::Admin);
        // Nobody but an owner has to do with owners.
        let reaches = |role| own == AccountRole::Owner || role != AccountRole::Owner;
        let permitted = match step.act {
            Act::Invite(_, role) => is_manager && reaches(role),
            Act::ChangeRole(user, new) => {
                is_manager && role(user).is_some_and(|old| reaches(old) && reaches(new))
            }
            Act::Remove(user) => is_manager && role(user).is_some_and(reaches),
            Act::Transfer(user) => own == AccountRole::Owner && role(user).is_some(),
            Act::Delete => own == AccountRole::Owner,
            _ => true,
        };
        permitted && !self.deleted[step.organisation]
    }
}

struct Arena {
    app: TestApp,
    users: Vec<(Session, Uuid)>,
    organisations: Vec<Uuid>,
}

impl Arena {
    async fn new() -> Self {
        let app = TestApp::with(&[
            ("PLAN_FREE_SEATS", &SEATS.to_string()),
            ("PLAN_PRO_SEATS", &MORE_SEATS.to_string()),
            ("PLAN_FREE_RATE", "1000000"),
            ("PLAN_PRO_RATE", "1000000"),
            ("LIMIT_INVITATIONS", "1000000/1h"),
            ("LIMIT_REAUTHENTICATION", "1000000/1h"),
            ("LIMIT_EMAIL", "1000000/1h"),
            ("DB_LOCK_TIMEOUT", "20s"),
        ])
        .await;
        let mut users = Vec::new();
        for name in NAMES {
            let session = app.sign_in(name).await;
            let id = session.user_id().await.parse().expect("it is an id");
            users.push((session, id));
        }
        let mut organisations = Vec::new();
        for (at, slug) in ["first", "second"].into_iter().enumerate() {
            let id = users[at].0.new_organisation(slug).await;
            organisations.push(id.parse().expect("it is an id"));
        }
        Self {
            app,
            users,
            organisations,
        }
    }

    async fn world(&self) -> World {
        let mut world = World::default();
        let rows: Vec<(Uuid, Uuid, AccountRole)> =
            sqlx::query_as("SELECT account_id, user_id, role FROM memberships")
                .fetch_all(&self.app.owner_db)
                .await
                .expect("they are read");
        let user = |id: Uuid| self.users.iter().position(|(_, own)| *own == id);
        let organisation = |id: Uuid| self.organisations.iter().position(|own| *own == id);
        for (account_id, user_id, role) in rows {
            let key = (organisation(account_id), user(user_id));
            world
                .roles
                .insert((key.0.expect("known"), key.1.expect("known")), role);
        }
        let deleted: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM accounts WHERE deleted_at IS NOT NULL")
                .fetch_all(&self.app.owner_db)
                .await
                .expect("they are read");
        for id in deleted {
            world.deleted[organisation(id).expect("known")] = true;
        }
        let paying: Vec<Uuid> = sqlx::query_scalar("SELECT account_id FROM subscriptions")
            .fetch_all(&self.app.owner_db)
            .await
            .expect("they are read");
        for id in paying {
            world.has_more_seats[organisation(id).expect("known")] = true;
        }
        world
    }

    /// Returns whether the step succeeded.
    async fn run(&self, step: Step) -> bool {
        let (session, _) = &self.users[step.actor];
        let base = format!("{ORGANISATIONS}/{}", self.organisations[step.organisation]);
        let member = |user: usize| format!("{base}/members/{}", self.users[user].1);
        let call = async |method: Method, path: String, body: Option<Value>| {
            let token = Some(session.access());
            session.replica.call(method, &path, token, body).await
        };
        let answer = match step.act {
            Act::Invite(user, role) => {
                let email = format!("{}@example.com", NAMES[user]);
                session
                    .invite(
                        &self.organisations[step.organisation].to_string(),
                        &email,
                        &role.to_string(),
                    )
                    .await
            }
            Act::Accept => {
                let own = session.get("/api/v1/invitations").await;
                let id = own.body["items"][0]["id"]
                    .as_str()
                    .unwrap_or("none")
                    .to_owned();
                if id == "none" {
                    return false;
                }
                session.accept(&id).await
            }
            Act::ChangeRole(user, role) => {
                call(Method::PATCH, member(user), Some(json!({ "role": role }))).await
            }
            Act::Remove(user) => call(Method::DELETE, member(user), None).await,
            Act::Leave => call(Method::DELETE, format!("{base}/membership"), None).await,
            Act::Transfer(user) => {
                let body = json!({ "user_id": self.users[user].1, "password": PASSWORD });
                call(Method::POST, format!("{base}/transfer"), Some(body)).await
            }
            Act::Delete => call(Method::DELETE, base, Some(proof())).await,
            Act::Restore => call(Method::POST, format!("{base}/restore"), None).await,
            Act::ChangePlan(is_more) => {
                self.change_plan(self.organisations[step.organisation], is_more)
                    .await;
                return true;
            }
        };
        assert!(answer.status.as_u16() < 500, "{step:?}: {}", answer.body);
        answer.status.is_success()
    }

    async fn change_plan(&self, organisation: Uuid, is_more: bool) {
        let sql = if is_more {
            "INSERT INTO subscriptions (id, user_id, account_id, plan, status, current_period_start, current_period_end,
                                        created_at, updated_at)
             SELECT gen_random_uuid(), $2, $1, 'pro', 'active', '2026-01-01', '2027-01-01', now(), now()
             WHERE NOT EXISTS (SELECT FROM subscriptions WHERE account_id = $1) AND $2 IS NOT NULL
             ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM subscriptions WHERE account_id = $1 AND $2::uuid IS NOT NULL"
        };
        let done = sqlx::query(sql).bind(organisation).bind(self.users[0].1);
        done.execute(&self.app.owner_db)
            .await
            .expect("it is written");
        let account = groundwork::ids::AccountId(organisation);
        groundwork::plans::changed(&self.app.state, account).await;
    }
}

/// Checks what holds between two pairs.
fn check(before: &World, after: &World, steps: [(Step, bool); 2]) {
    for organisation in 0..2 {
        let owners = after
            .roles
            .iter()
            .filter(|((of, _), role)| *of == organisation && **role == AccountRole::Owner);
        assert!(owners.count() > 0, "no owner: {steps:?}");
        let has_more = [before, after]
            .iter()
            .any(|it| it.has_more_seats[organisation]);
        let seats = if has_more { MORE_SEATS } else { SEATS };
        let most = seats.max(before.members(organisation));
        assert!(
            after.members(organisation) <= most,
            "too many members: {steps:?}"
        );
    }
    for (at, (step, succeeded)) in steps.into_iter().enumerate() {
        let (other, other_succeeded) = steps[1 - at];
        // What the other one did first may have changed what is permitted.
        let is_disturbed = other_succeeded
            && (other.organisation == step.organisation || other.act == Act::Accept);
        let permitted =
            before.permits(step) || is_disturbed && after_of(before, other).permits(step);
        assert!(
            !succeeded || permitted,
            "{step:?} was not permitted: {before:?} {steps:?}"
        );
    }
}

/// The roles after a step that succeeded.
fn after_of(before: &World, step: Step) -> World {
    let mut world = before.clone();
    let key = |user| (step.organisation, user);
    match step.act {
        Act::ChangeRole(user, role) => drop(world.roles.insert(key(user), role)),
        Act::Remove(user) => drop(world.roles.remove(&key(user))),
        Act::Leave => drop(world.roles.remove(&key(step.actor))),
        Act::Transfer(user) => {
            world.roles.insert(key(step.actor), AccountRole::Admin);
            world.roles.insert(key(user), AccountRole::Owner);
        }
        Act::Delete => world.deleted[step.organisation] = true,
        Act::Restore => world.deleted[step.organisation] = false,
        // The role of the invitation is not known here.
        Act::Accept => {
            for organisation in 0..2 {
                let joined = (organisation, step.actor);
                world.roles.entry(joined).or_insert(AccountRole::Owner);
            }
        }
        Act::Invite(..) | Act::ChangePlan(_) => {}
    }
    world
}

/// `PROPERTY_ROUNDS`.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests have no configuration of their own"
)]
pub fn rounds() -> usize {
    let given = std::env::var("PROPERTY_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(60)
}

#[tokio::test]
async fn whatever_four_users_do_organisations_keep_owners_seats_and_permissions() {
    for seed in [1, 2] {
        let arena = Arena::new().await;
        let mut numbers = Numbers(seed);
        let (mut succeeded, mut before) = (0, arena.world().await);
        for round in 0..rounds() {
            let steps = [Step::random(&mut numbers), Step::random(&mut numbers)];
            let done = tokio::join!(arena.run(steps[0]), arena.run(steps[1]));
            let after = arena.world().await;
            let steps = [(steps[0], done.0), (steps[1], done.1)];
            succeeded += usize::from(done.0) + usize::from(done.1);
            check(&before, &after, steps);
            before = after;
            if round % 20 == 19 {
                arena.app.run_jobs().await;
            }
        }
        arena.app.run_jobs().await;
        assert!(
            succeeded * 10 > rounds(),
            "only {succeeded} steps succeeded"
        );
    }
}

//! Redemption, refresh, revocation and introspection at once look, from outside, as if they had happened one after the other.
//!
//! Clients play with the tokens of one grant; when each request began and ended is written down, and stateright searches an order that
//! fits. `TEST_ENGINE` chooses the engine; `LINEARIZABLE_GRANTS` asks for more grants than the usual ones.

mod model;

use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use tests::client::{Client, Pending};
use tests::http::Answer;
use tests::world::World;

use model::{Family, Name, Op, Ret};

/// Clients at once, and what each of them does. Four by four have at most 63 million orders, and a search sees few of them.
const CLIENTS: usize = 4;
const STEPS: usize = 4;

/// What is seen of one grant.
struct Observer {
    tester: LinearizabilityTester<usize, Family>,
    /// The refresh tokens by their names.
    tokens: Vec<String>,
}

impl Observer {
    fn name(&mut self, token: String) -> Name {
        self.tokens.iter().position(|known| *known == token).unwrap_or_else(|| {
            self.tokens.push(token);
            self.tokens.len() - 1
        })
    }
}

/// Draws one of the things that can be done by now. What ends a family comes seldom, so that most live through several rotations.
fn draw(dice: &mut ChaCha12Rng, tokens: usize) -> Op {
    // The newest token, and now and then the one before.
    let newest = tokens.checked_sub(1);
    let name =
        newest.map(|newest| newest.saturating_sub(usize::from(dice.next_u32().is_multiple_of(4))));
    let Some(name) = name else { return Op::Redeem };
    match dice.next_u32() % 48 {
        0 => Op::Redeem,
        1 => Op::Revoke(name),
        2..12 => Op::Introspect(name),
        _ => Op::Refresh(name),
    }
}

async fn act(
    client: &Client,
    op: Op,
    token: Option<String>,
    (code, pending): &(String, Pending),
) -> Answer {
    let token = token.unwrap_or_default();
    match op {
        Op::Redeem => client.redeem(code, pending).await,
        Op::Refresh(_) => client.refresh(&token).await,
        Op::Revoke(_) => client.revoke(&token).await,
        Op::Introspect(_) => client.introspect(&token).await,
    }
}

fn learn(observer: &mut Observer, op: Op, answer: &Answer) -> Ret {
    match op {
        Op::Redeem | Op::Refresh(_) if answer.status == 200 => {
            Ret::Tokens(observer.name(answer.member("refresh_token")))
        }
        Op::Redeem | Op::Refresh(_) => {
            assert_eq!((answer.status, answer.error()), (400, "invalid_grant".into()));
            Ret::Refused
        }
        Op::Revoke(_) => {
            assert_eq!(answer.status, 200);
            Ret::Done
        }
        Op::Introspect(_) => Ret::Active(answer.json()["active"].as_bool().unwrap()),
    }
}

/// One request of a client. It is noted before it is sent, and its answer after it has come, so the times in the history include the
/// true ones, and what no order explains there, none explains in truth.
async fn step(
    number: usize,
    op: Op,
    client: &Client,
    observer: &Mutex<Observer>,
    grant: &(String, Pending),
) {
    let token = {
        let mut observer = observer.lock().unwrap();
        observer.tester.on_invoke(number, op).unwrap();
        match op {
            Op::Redeem => None,
            Op::Refresh(name) | Op::Revoke(name) | Op::Introspect(name) => {
                Some(observer.tokens[name].clone())
            }
        }
    };
    let answer = act(client, op, token, grant).await;
    let mut observer = observer.lock().unwrap();
    let ret = learn(&mut observer, op, &answer);
    observer.tester.on_return(number, ret).unwrap();
}

async fn play(
    number: usize,
    client: Client,
    observer: Arc<Mutex<Observer>>,
    grant: Arc<(String, Pending)>,
    mut dice: ChaCha12Rng,
) {
    for _ in 0..STEPS {
        let known = observer.lock().unwrap().tokens.len();
        step(number, draw(&mut dice, known), &client, &observer, &grant).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_do_at_once_could_have_happened_one_after_the_other() {
    let grants = std::env::var("LINEARIZABLE_GRANTS").map_or(100, |count| count.parse().unwrap());
    let world = World::start().await;
    let client = world.web();
    let mut tokens = 0;
    for seed in 0..grants {
        let (code, pending) =
            world.code(&client, "openid documents:read", &format!("g{seed}")).await;
        let grant = Arc::new((code, pending));
        let observer = Arc::new(Mutex::new(Observer {
            tester: LinearizabilityTester::new(Family::default()),
            tokens: Vec::new(),
        }));
        if seed % 4 > 0 {
            // Else all begin with the code, and its family is short.
            step(0, Op::Redeem, &client, &observer, &grant).await;
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let dice = ChaCha12Rng::seed_from_u64(seed * 1_000 + number as u64);
                tokio::spawn(play(number, client.clone(), observer.clone(), grant.clone(), dice))
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        let observer = observer.lock().unwrap();
        assert!(observer.tester.is_consistent(), "no order explains {:#?}", observer.tester);
        tokens += observer.tokens.len();
    }
    assert!(tokens > 2 * usize::try_from(grants).unwrap(), "families lived on: {tokens} tokens");
}

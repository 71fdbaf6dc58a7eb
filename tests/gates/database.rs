//! The gates in SQL, in a real database: they accept and refuse what the library's do, no statement gets round the
//! trigger, and a holder that comes too late changes nothing.

use crate::{
    postgres::{PATIENCE, Postgres},
    stage::Server,
};
use enq::client::{Fence, FenceGate, LockMode, Seq, SeqGate};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{fmt::Write as _, path::Path, time::Duration};

/// What a refusal is called.
const STALE: &str = "QF001";

/// Runs a statement and says `ok`, or by which state it was refused. What it did is undone if it was refused.
const ATTEMPT: &str = "
CREATE FUNCTION attempt(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;";

async fn database() -> Option<Postgres> {
    let postgres = Postgres::start().await?;
    postgres.load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gate/gate.sql")).await;
    postgres.run(ATTEMPT).await;
    Some(postgres)
}

/// One operation at a gate.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Fence(u64),
    Seq(LockMode, u64),
}

impl Operation {
    fn any(random: &mut SmallRng) -> Operation {
        if random.random_bool(0.3) {
            Operation::Fence(random.random_range(0..16))
        } else {
            let mode = LockMode::ALL[random.random_range(0..LockMode::ALL.len())];
            Operation::Seq(mode, random.random_range(1..16))
        }
    }

    fn sql(self, resource: usize) -> String {
        let call = match self {
            Operation::Fence(fence) => format!("enq.pass_fence('r{resource}', {fence})"),
            Operation::Seq(mode, seq) => format!("enq.pass_seq('r{resource}', '{mode}', {seq})"),
        };
        format!("SELECT attempt($$SELECT {call}$$);\n")
    }
}

/// Both gates of one resource, as the library has them.
#[derive(Clone, Copy, Debug, Default)]
struct Gates {
    fence: FenceGate,
    seq: SeqGate,
}

impl Gates {
    fn pass(&mut self, operation: Operation) -> &'static str {
        let passed = match operation {
            Operation::Fence(fence) => self.fence.pass(Fence(fence)),
            Operation::Seq(mode, seq) => self.seq.pass(mode, Seq(seq)),
        };
        if passed.is_ok() { "ok" } else { STALE }
    }
}

/// Operations on one resource each: every pair of modes before, at and after; every fence; then at random.
fn histories() -> Vec<Vec<Operation>> {
    let mut histories = Vec::new();
    for (first, second) in LockMode::ALL.iter().flat_map(|first| LockMode::ALL.map(|second| (*first, second)))
    {
        for seq in 4..=6 {
            histories.push(vec![Operation::Seq(first, 5), Operation::Seq(second, seq)]);
        }
    }
    for fence in [0, 4, 5, 6] {
        histories.push(vec![Operation::Fence(5), Operation::Fence(fence)]);
        histories.push(vec![Operation::Fence(fence)]);
    }
    for seed in 0..40 {
        let mut random = SmallRng::seed_from_u64(seed);
        histories.push((0..40).map(|_| Operation::any(&mut random)).collect());
    }
    histories
}

#[tokio::test]
async fn the_database_accepts_and_refuses_what_the_library_does() {
    let Some(postgres) = database().await else { return };
    let histories = histories();
    let mut sql = String::new();
    for (resource, history) in histories.iter().enumerate() {
        sql.extend(history.iter().map(|operation| operation.sql(resource)));
    }
    let said = postgres.run(&sql).await;
    let mut verdicts = said.iter();
    let (mut passed, mut refused) = (0, 0);
    let mut stored = String::new();
    for (resource, history) in histories.iter().enumerate() {
        let mut gates = Gates::default();
        for (step, operation) in history.iter().enumerate() {
            let verdict = verdicts.next().map(String::as_str);
            assert_eq!(verdict, Some(gates.pass(*operation)), "{resource}, step {step} of {history:?}");
            *(if verdict == Some("ok") { &mut passed } else { &mut refused }) += 1;
        }
        if gates.fence != FenceGate::default() || gates.seq != SeqGate::default() {
            writeln!(stored, "r{resource},{},{}", gates.fence, gates.seq).expect("it is a string");
        }
    }
    assert_eq!(verdicts.next(), None);
    assert!(passed > 300 && refused > 300, "both happen often: {passed} and {refused}");
    let rows = "SELECT concat_ws(',', resource, fence, nl, cr, cw, pr, pw, ex) FROM enq.gate
        WHERE fence + nl + cr + cw + pr + pw + ex > 0 ORDER BY substr(resource, 2)::int;";
    assert_eq!(postgres.run(rows).await, stored.lines().collect::<Vec<_>>(), "what was stored");
}

/// A value that is no mode, or no number, must not slip through a comparison with NULL.
#[tokio::test]
async fn what_is_no_grant_passes_no_gate() {
    let Some(postgres) = database().await else { return };
    let calls = [
        "enq.pass_fence('r', NULL)",
        "enq.pass_fence('r', -1)",
        "enq.pass_seq('r', 'XX', 5)",
        "enq.pass_seq('r', NULL, 5)",
        "enq.pass_seq('r', 'EX', NULL)",
    ];
    for call in calls {
        let said = postgres.run(&format!("SELECT attempt('SELECT {}');", call.replace('\'', "''"))).await;
        assert_eq!(said, [STALE], "{call}");
    }
}

/// Everything that writes a row, with a balance that tells who was there.
const WRITES: [&str; 8] = [
    "UPDATE account SET balance = 666",
    "UPDATE account SET balance = 666 WHERE id = 'a'",
    "UPDATE account SET id = 'b', balance = 666 WHERE id = 'a'",
    "DELETE FROM account",
    "INSERT INTO account VALUES ('a', 666) ON CONFLICT (id) DO UPDATE SET balance = 666",
    "MERGE INTO account USING (SELECT 'a' AS id) AS new ON account.id = new.id
        WHEN MATCHED THEN UPDATE SET balance = 666",
    "WITH old AS (DELETE FROM account RETURNING id) INSERT INTO account SELECT id, 666 FROM old",
    "TRUNCATE account",
];

#[tokio::test]
async fn a_stale_holder_writes_nothing_whatever_its_statement_says() {
    let Some(postgres) = database().await else { return };
    let server = Server::start();
    let (asleep, its) = server.holder("sleeper", "account/a").await;
    let under = |fence: Fence, sql: &str| {
        format!("BEGIN; SELECT enq.under({fence}); SELECT attempt($_${sql}$_$); COMMIT;")
    };
    let said = postgres.run(&under(its.fence(), "INSERT INTO account VALUES ('a', 100)")).await;
    assert_eq!(said, ["", "ok"], "in time");

    server.expire(&asleep).await;
    let (_awake, lock) = server.holder("next", "account/a").await;
    assert!(lock.fence() > its.fence());
    let raise = format!("SELECT enq.pass_fence('account/a', {});", lock.fence());
    postgres.run(&raise).await;

    for write in WRITES {
        let said = postgres.run(&under(its.fence(), write)).await;
        assert_eq!(said, ["", STALE], "{write}");
        let said = postgres.run(&format!("SELECT attempt($_${write}$_$);")).await;
        assert_eq!(said, [STALE], "under no fence: {write}");
        assert_eq!(postgres.run("TABLE account;").await, ["a|100"], "{write}");
    }
    let said = postgres.run(&under(lock.fence(), "UPDATE account SET balance = balance + 50")).await;
    assert_eq!(said, ["", "ok"], "the holder writes");
    assert_eq!(postgres.run("TABLE account;").await, ["a|150"]);

    // The control: without the trigger each of them would have been done.
    postgres.run("ALTER TABLE account DISABLE TRIGGER ALL;").await;
    for write in WRITES {
        let undone = format!("BEGIN; SELECT attempt($_${write}$_$); ROLLBACK;");
        assert_eq!(postgres.run(&undone).await, ["ok"], "{write}");
    }
}

#[tokio::test]
async fn a_reader_that_raises_the_gate_sees_all_that_passed_before_it() {
    let Some(postgres) = database().await else { return };
    postgres.run("BEGIN; SELECT enq.under(5); INSERT INTO account VALUES ('a', 100); COMMIT;").await;
    let (mut old, mut new) = (postgres.connect(), postgres.connect());
    old.ask("BEGIN; SELECT enq.under(5); UPDATE account SET balance = 90;").await;
    new.send("SELECT enq.pass_fence('account/a', 6); TABLE account;").await;
    // The raising waits for the transaction that came first.
    let waits = async {
        while postgres.run("SELECT count(*) FROM pg_locks WHERE NOT granted;").await == ["0"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it waits");
    old.ask("COMMIT;").await;
    assert_eq!(new.answer().await, ["a|90"], "and sees what it did");
    // From now on the old one is refused, also in a transaction that it begins with a look at the gate of before.
    let late = "BEGIN; SELECT enq.under(5); SELECT attempt('UPDATE account SET balance = 80'); COMMIT;";
    assert_eq!(old.ask(late).await, [STALE]);
    // A gate that is rolled back was never raised.
    new.ask("BEGIN; SELECT enq.pass_fence('account/a', 9); ROLLBACK;").await;
    let next = "BEGIN; SELECT enq.under(7); SELECT attempt('UPDATE account SET balance = 80'); COMMIT;";
    assert_eq!(new.ask(next).await, ["ok"]);
}

#[tokio::test]
async fn an_application_needs_no_right_on_the_gate_itself() {
    let Some(postgres) = database().await else { return };
    postgres
        .run("CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA enq TO app; GRANT ALL ON account TO app;")
        .await;
    let as_app = |sql: &str| format!("SET ROLE app; BEGIN; SELECT enq.under(5); {sql}; COMMIT;");
    let said = postgres.run(&as_app("INSERT INTO account VALUES ('a', 1); TABLE account")).await;
    assert_eq!(said, ["", "a|1"]);
    let said = postgres.run(&as_app("SELECT attempt('UPDATE enq.gate SET fence = 0')")).await;
    assert_eq!(said, ["", "42501"], "it may not");
}

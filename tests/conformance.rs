//! The conformance cases (`conformance/cases.txt`), each run by the engine alone and by a server through the wire.
//!
//! A case is a story in one line; `conformance/README.md` explains the language.

#[path = "conformance/by_hand.rs"]
mod by_hand;
#[path = "conformance/by_wire.rs"]
mod by_wire;
#[path = "conformance/case.rs"]
mod case;

use case::Case;
use enq_protocol::vocabulary::Grant;

/// Something that can act out a case: the engine by hand, or a server with one connection a session.
trait Driver {
    /// Acts out one operation and returns its events, as the cases write them.
    fn act(&mut self, operation: &case::Operation) -> Vec<String>;
}

/// How the cases write a grant, with what became of the value block.
fn write_grant(name: &str, grant: &Grant) -> String {
    let value = match &grant.value {
        _ if grant.stored => "=w".into(),
        None => String::new(),
        Some(value) => {
            let text = String::from_utf8_lossy(&value.bytes);
            let text = if text.is_empty() { "0" } else { &text };
            format!("={text}{}", if value.valid { "" } else { "*" })
        }
    };
    format!("{name}+{}{value}", grant.mode)
}

const CASES: &str = include_str!("conformance/cases.txt");

/// Runs every case on a fresh driver, and tells all that differ.
fn run_all<D: Driver>(mut fresh: impl FnMut(&Case) -> D) {
    let cases = case::read_all(CASES);
    assert_eq!(cases.len(), 107, "cases were lost or gained");
    let mut wrong = Vec::new();
    for case in &cases {
        let mut driver = fresh(case);
        for operation in &case.setup {
            driver.act(operation);
        }
        let events: Vec<String> =
            case.operations.iter().flat_map(|operation| driver.act(operation)).collect();
        if events != case.events {
            wrong.push(format!(
                "cases.txt:{}: {}\n  must be  {}\n  was      {}",
                case.line,
                case.text,
                case.events.join(" "),
                events.join(" ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_engine_says_what_the_cases_say() {
    run_all(|case| by_hand::ByHand::new(case.is_timed()));
}

#[test]
fn a_server_says_what_the_cases_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    run_all(|case| by_wire::ByWire::new(&runtime, case.is_timed()));
}

#[test]
fn a_line_that_is_no_case_is_told_by_its_number() {
    for (text, why) in [
        ("new A EX", "cases.txt:1: no number"),
        ("1: new A EX", "cases.txt:1: no `=>`"),
        ("# heading\n\n1: new A XX => A+EX", "cases.txt:3: no mode or flag: XX"),
        ("1: renew A => A+EX", "cases.txt:1: no operation: renew A"),
        ("1: rel A colour=red => A-", "cases.txt:1: no option: colour=red"),
        ("1: cancel => A-", "cases.txt:1: a name is missing: cancel"),
        ("1: pri A low => A-", "cases.txt:1: a number is missing: pri A low"),
    ] {
        let refused = std::panic::catch_unwind(|| case::read_all(text)).expect_err("must be refused");
        let message = refused.downcast_ref::<String>().expect("a message");
        assert_eq!(message, why);
    }
}

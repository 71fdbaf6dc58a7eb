//! The way from a holder to its server, on which one direction can be made to lead nowhere, without a word to anybody.
//!
//! In a network namespace it is the kernel's own: packets to or from a port are routed to a device that nobody reads.
//! Where there is none, a proxy keeps bytes back, which looks the same from both ends of a TCP connection.

use std::{env, process::Stdio};

use tokio::process::Command;

use crate::{
    proxy::{Proxy, Way},
    stage::{Server, said},
};

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    ToServer,
    ToHolder,
}

pub(super) enum Road {
    Kernel { server: String },
    UserSpace(Proxy),
}

/// What is there once [`SETTING`] has run.
const ADDRESS: &str = "10.77.0.1";

/// Makes the namespace a network: an address, a device that nobody reads, and room for rules ahead of everything else.
const SETTING: &str = "
    ip link set lo up && ip addr add 10.77.0.1/32 dev lo &&
    ip tuntap add mode tun name nowhere && ip link set nowhere up && ip route add default dev nowhere table 100 &&
    ip rule add pref 10 lookup local && ip rule del pref 0 || exit 99
    exec \"$0\" \"$@\"";

/// Set where [`SETTING`] has run.
const INSIDE: &str = "ENQ_TEST_NAMESPACE";

/// What [`SETTING`] exits with when it cannot be had.
const NO_SETTING: i32 = 99;

pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs a test of this program again in a network namespace of its own. Says why it could not.
pub(super) async fn run_inside(test: &str) -> Result<(), String> {
    let itself = env::current_exe().expect("a program knows where it is");
    let mut why = String::new();
    for flags in [&["--net"][..], &["--net", "--map-root-user"]] {
        let mut command = Command::new("unshare");
        command.args(flags).args(["--", "sh", "-c", SETTING]).arg(&itself);
        command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = match command.output().await {
            Ok(output) => output,
            Err(error) => return Err(format!("unshare: {error}")),
        };
        let out = String::from_utf8_lossy(&output.stdout);
        if out.contains("running 1 test") {
            println!("{out}");
            assert!(output.status.success(), "in the namespace: {out}{}", said(&output));
            return Ok(());
        }
        assert!(matches!(output.status.code(), Some(1 | NO_SETTING)), "{output:?}");
        why = said(&output).trim().replace('\n', "; ");
    }
    Err(why)
}

impl Road {
    /// A server and the way to it, on which everything is passed on.
    pub(super) async fn to_a_server() -> (Server, Road) {
        if is_inside() {
            let server = Server::start_with(&["--listen", &format!("127.0.0.1:0,{ADDRESS}:0")]).await;
            let road = Road::Kernel { server: server.others[0].clone() };
            (server, road)
        } else {
            let server = Server::start().await;
            let road = Road::UserSpace(Proxy::to(&server.address).await);
            (server, road)
        }
    }

    /// Where the holder finds its server.
    pub(super) fn address(&self) -> &str {
        match self {
            Road::Kernel { server } => server,
            Road::UserSpace(proxy) => proxy.address(),
        }
    }

    /// From now on these are lost.
    pub(super) async fn lose(&self, lost: Lost) {
        match (self, lost) {
            (Road::Kernel { .. }, _) => self.rule("add", lost).await,
            (Road::UserSpace(proxy), Lost::ToServer) => proxy.set(Way::LateToServer),
            (Road::UserSpace(proxy), Lost::ToHolder) => proxy.set(Way::LateToClient),
        }
    }

    /// They are not any more.
    pub(super) async fn heal(&self, lost: Lost) {
        match self {
            Road::Kernel { .. } => self.rule("del", lost).await,
            Road::UserSpace(proxy) => proxy.set(Way::Open),
        }
    }

    async fn rule(&self, what: &str, lost: Lost) {
        let port = self.address().rsplit_once(':').expect("an address has a port").1;
        let side = match lost {
            Lost::ToServer => "dport",
            Lost::ToHolder => "sport",
        };
        let rule = ["rule", what, "pref", "5", "ipproto", "tcp", side, port, "lookup", "100"];
        let done = Command::new("ip").args(rule).status().await.expect("the setting needed it too");
        assert!(done.success(), "{rule:?}");
    }
}

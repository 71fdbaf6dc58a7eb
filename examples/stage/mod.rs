//! Where the examples play: the servers of `ENQ_SERVERS`, or one that is started here and ends with the example.

use enq::server::{Config, Server};
use std::{env, error::Error};

/// Keeps the server of this example, if it has one of its own.
pub(crate) struct Stage {
    /// Whom to connect to.
    pub(crate) servers: Vec<String>,
    own: Option<Server>,
}

impl Stage {
    /// Looks for servers, or starts one.
    pub(crate) async fn set() -> Result<Stage, Box<dyn Error>> {
        let named = env::var("ENQ_SERVERS").unwrap_or_default();
        let named: Vec<String> =
            named.split([',', ' ']).filter(|name| !name.is_empty()).map(Into::into).collect();
        if !named.is_empty() {
            return Ok(Stage { servers: named, own: None });
        }
        let own = Server::start(Config::for_tests()).await?;
        let servers = vec![own.local_addr().to_string()];
        println!("(no ENQ_SERVERS, so a server of this example's own serves at {})", servers[0]);
        Ok(Stage { servers, own: Some(own) })
    }

    /// Clears up.
    pub(crate) async fn clear(self) {
        if let Some(own) = self.own {
            own.shutdown().await;
        }
    }
}

//! The floor: a tokio server that sends back what it reads, and does nothing else. No server can do less.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Serves on a free port of loopback until standard input ends, which is when whoever started it has gone. The first line on
/// standard output says where, in the words of enqd.
///
/// # Errors
/// What the system says.
pub fn serve() -> io::Result<()> {
    // As many workers as enqd has: one a core.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        std::thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            std::process::exit(0);
        });
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = bytes::BytesMut::with_capacity(64 * 1024);
    // Whoever has gone is told nothing.
    while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}

//! A pooler as small as can be: clients come and go, and the connections to the server stay.
//!
//! It keeps the habits of `PgBouncer` that a client can see: it greets clients by itself, gives each a
//! server connection for as long as its mode says, and refuses what it does not know of a startup. It
//! speaks the simple protocol alone. See "Message Flow" in the PostgreSQL manual, chapter
//! "Frontend/Backend Protocol".

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Outcome;

/// For how long a client has a server connection to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// While it is connected.
    Session,
    /// While its statement runs.
    Transaction,
    /// Never: it sent a startup parameter that is not known.
    Strict,
}

/// Begins to pool connections to a server, for as long as the process lives, and says where.
pub(crate) fn start(server: SocketAddr, mode: Mode) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let pool = Pool {
        server,
        idle: Arc::default(),
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let pool = pool.clone();
            // A client that leaves without a word is no fault.
            thread::spawn(move || pool.serve(client, mode).ok());
        }
    });
    Ok(address)
}

#[derive(Clone, Debug)]
struct Pool {
    server: SocketAddr,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

impl Pool {
    fn serve(&self, mut client: TcpStream, mode: Mode) -> io::Result<()> {
        while startup(&mut client)? == TLS_REQUEST {
            client.write_all(b"N")?;
        }
        if mode == Mode::Strict {
            let refusal = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
            return client.write_all(&message(b'E', refusal));
        }
        client.write_all(&message(b'R', &[0; 4]))?;
        client.write_all(&message(b'Z', b"I"))?;
        let mut held = None;
        let served = loop {
            match read(&mut client) {
                Ok((b'Q', query)) => {
                    let mut server = match held.take() {
                        Some(server) => server,
                        None => self.connection()?,
                    };
                    server.write_all(&message(b'Q', &query))?;
                    relay(&mut server, &mut client)?;
                    match mode {
                        Mode::Session => held = Some(server),
                        Mode::Transaction | Mode::Strict => self.give_back(server),
                    }
                }
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(server) = held {
            self.give_back(server);
        }
        served
    }

    fn connection(&self) -> io::Result<TcpStream> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(server) = idle {
            return Ok(server);
        }
        let mut server = TcpStream::connect(self.server)?;
        let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        // A startup is a message without a kind.
        server.write_all(&message(0, parameters)[1..])?;
        relay(&mut server, &mut io::sink())?;
        Ok(server)
    }

    fn give_back(&self, server: TcpStream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(server);
    }
}

/// Everything up to where the server waits for more.
fn relay(server: &mut TcpStream, client: &mut impl io::Write) -> io::Result<()> {
    loop {
        let (kind, body) = read(server)?;
        client.write_all(&message(kind, &body))?;
        if kind == b'Z' {
            return Ok(());
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn read(from: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    Ok((kind[0], body(from)?))
}

/// What a startup is for: a version of the protocol, or a request for something else.
fn startup(client: &mut TcpStream) -> io::Result<u32> {
    let body = body(client)?;
    let code = body.first_chunk().copied().unwrap_or_default();
    Ok(u32::from_be_bytes(code))
}

fn body(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length).saturating_sub(4);
    let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact(&mut body)?;
    Ok(body)
}

const TLS_REQUEST: u32 = 80_877_103;
